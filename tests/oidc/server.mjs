// A real authorization server for the integration tests: npm's oidc-provider over HTTPS.
//
//   node server.mjs config.json
//
// The configuration is written by the test (tests/integration/support/oidc.rs). The server binds a
// free port of 127.0.0.1 and writes one JSON object a line to standard output: first
// {"port": …}, then {"granted": client, "grant": type} for every token it issues. What it refuses
// goes to standard error. It ends when its standard input closes.

import { X509Certificate, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

// Standard output is for the test alone.
console.log = console.info = console.warn = console.error;

const { Provider, errors } = await import('oidc-provider');

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));

// The test hands over certificates; the server wants key sets (RFC 7517, RFC 8705 §2.2.2).
function withKeys({ certificate, ...client }) {
  if (certificate === undefined) return client;
  const { raw } = new X509Certificate(certificate);
  const key = createPublicKey(certificate).export({ format: 'jwk' });
  return { ...client, jwks: { keys: [{ ...key, x5c: [raw.toString('base64')] }] } };
}

// RFC 8705 §2.1.2: one of the subject alternative names, or the whole subject.
function subjectMatches(ctx, property, expected) {
  const certificate = ctx.socket.getPeerX509Certificate();
  switch (property) {
    case 'tls_client_auth_san_dns':
      return (certificate.subjectAltName ?? '').split(', ').includes(`DNS:${expected}`);
    case 'tls_client_auth_subject_dn':
      return certificate.subject.split('\n').reverse().join(',') === expected;
    default:
      return false;
  }
}

// RFC 6749 §4.3, which oidc-provider leaves to those who still need it.
function passwordGrant(provider) {
  return async (ctx) => {
    const { client, params } = ctx.oidc;
    const { username: accountId, password, scope } = params;
    if (!Object.hasOwn(config.accounts, accountId) || config.accounts[accountId] !== password) {
      throw new errors.InvalidGrant('unknown user or wrong password');
    }
    const grant = new provider.Grant({ accountId, clientId: client.clientId });
    grant.addOIDCScope(scope ?? '');
    const grantId = await grant.save();
    const common = { accountId, client, grantId, gty: 'password', scope };
    const token = new provider.AccessToken(common);
    const refresh = new provider.RefreshToken(common);
    ctx.body = {
      access_token: await token.save(),
      expires_in: token.expiration,
      refresh_token: await refresh.save(),
      scope,
      token_type: token.tokenType,
    };
  };
}

function provide(issuer) {
  const provider = new Provider(issuer, {
    clients: config.clients.map(withKeys),
    scopes: ['api', 'offline_access', 'openid'],
    clientAuthMethods: [
      'client_secret_basic', 'client_secret_post', 'none', 'private_key_jwt',
      'self_signed_tls_client_auth', 'tls_client_auth',
    ],
    enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'PS256', 'RS256'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      // Who names a resource gets a signed access token for it (RFC 8707, RFC 9068).
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'api', audience: resource, accessTokenFormat: 'jwt',
        }),
      },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: subjectMatches,
        getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      },
    },
    extraTokenClaims: () => ({ roles: ['connector-admins'] }),
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    rotateRefreshToken: true,
    ttl: {
      AccessToken: config.token_seconds,
      ClientCredentials: config.token_seconds,
      Grant: 86_400,
      RefreshToken: 86_400,
    },
  });
  provider.registerGrantType('password', passwordGrant(provider), ['username', 'password', 'scope']);
  provider.on('grant.success', ({ oidc }) => {
    say({ granted: oidc.client.clientId, grant: oidc.params.grant_type });
  });
  provider.on('grant.error', (ctx, error) => {
    console.error(`refused ${ctx.oidc?.params?.client_id}: ${error.message} ${error.error_description} ${error.error_detail ?? ''} ${error.cause ?? ''}`);
  });
  provider.on('server_error', (_ctx, error) => console.error(error));
  return provider;
}

function say(fact) {
  process.stdout.write(`${JSON.stringify(fact)}\n`);
}

const server = createServer({
  cert: config.tls.certificate,
  key: config.tls.private_key,
  ca: config.tls.client_ca,
  requestCert: true,
  // Self-signed certificates are looked up among the clients' own (RFC 8705 §2.2).
  rejectUnauthorized: false,
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  server.on('request', provide(`https://localhost:${port}`).callback());
  say({ port });
});
process.stdin.on('end', () => process.exit()).resume();
