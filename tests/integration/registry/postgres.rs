//! The rules over PostgreSQL: what competes in it, and a connector's whole life.

use attache::config::StoreUrl;
use attache::secret::Secret;

use crate::support::postgres::Postgres;
use crate::support::stage::Stage;

use super::audit::live;
use super::races::{compete_for_the_last_place, edit_the_same_state};
use super::room::Room;

/// A room over a database of its own on `server`.
async fn room(server: &Postgres) -> Room {
    let url = StoreUrl::Postgres(Secret::new(server.database().await));
    Room::over(Stage::new(), url, "[]").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connector_lives_in_postgresql_as_it_does_in_a_file() {
    let server = Postgres::shared();

    live(room(&server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_compete_in_postgresql_get_one_place_between_them() {
    let server = Postgres::shared();

    compete_for_the_last_place(room(&server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_edits_of_the_same_state_in_postgresql_one_wins() {
    let server = Postgres::shared();

    edit_the_same_state(room(&server).await).await;
}
