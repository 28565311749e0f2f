// SPDX-License-Identifier: MIT
//! `alkaid run`: the daemon, from its configuration to its end.

use std::error::Error;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Settings;
use crate::core::{Core, CoreHandle, channel};
use crate::northbound::{Socket, socket};
use crate::ondemand::OnDemand;
use crate::store::{Journal, Store};
use crate::switch::{Operator, Switch, cores};
use crate::{northbound, ondemand, southbound};

/// Threads of the gRPC runtime: one decodes a large goal state while the other answers an operator.
const RPC_THREADS: usize = 2;

/// Runs the switch until it is told to end.
pub(crate) fn run(settings: Settings) -> Result<bool, Box<dyn Error>> {
    let listener = settings
        .southbound
        .map(std::net::TcpListener::bind)
        .transpose()
        .map_err(|error| {
            format!(
                "the southbound address {:?} cannot be listened on: {error}",
                settings.southbound
            )
        })?;
    let journal = settings.store.as_deref().map(Journal::open).transpose()?;
    let (switch, mut core) = Switch::bring_up(settings)?;
    let store = match journal.map(|journal| keep(&mut core, journal)).transpose() {
        Ok(store) => store,
        Err(error) => {
            switch.shut_down();
            return Err(error);
        }
    };
    cores::leave_to_workers(&switch.worker_cores());
    let (handle, requests) = channel();
    let (on_demand, client) = OnDemand::start(&switch, &mut core, &handle)?.unzip();
    let control = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || core.run(requests))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RPC_THREADS)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(&switch, handle, listener, client));
    drop(runtime);
    if let Some(on_demand) = on_demand {
        on_demand.end();
    }
    // The last handle is gone, so the control thread ends; then the workers, then the ports.
    if control.join().is_err() {
        tracing::error!("the control thread panicked");
    }
    // Its store went with it, and all that was handed over is written.
    if store.is_some_and(|store| store.join().is_err()) {
        tracing::error!("the store's thread panicked");
    }
    switch.shut_down();
    served.map(|()| true)
}

/// Programs what the store has kept, and keeps what comes from now on. Returns the thread that writes.
fn keep(core: &mut Core, journal: Journal) -> Result<JoinHandle<()>, Box<dyn Error>> {
    let begun = Instant::now();
    let resources = core.restore(&journal)?;
    tracing::info!(
        resources,
        seconds = begun.elapsed().as_secs_f64(),
        "what the store has kept is programmed"
    );
    let (store, thread) = Store::start(journal)?;
    core.keep_in(store);
    Ok(thread)
}

/// Binds what the configuration binds, starts forwarding, and serves controller and operators until a signal or
/// `quit`.
async fn serve(
    switch: &Switch,
    core: CoreHandle,
    listener: Option<std::net::TcpListener>,
    client: Option<ondemand::Client>,
) -> Result<(), Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let path = switch
        .settings()
        .control_socket
        .clone()
        .unwrap_or_else(socket::default_path);
    let local = Socket::bind(&path)?;
    for (port, id) in switch.bindings() {
        core.bind(port, id).await??;
    }
    if switch.settings().start {
        switch.start();
    }
    let (quit, _) = watch::channel(false);
    let on_demand = client.as_ref().map(ondemand::Client::shared);
    let operator = Operator::new(switch, core.clone(), on_demand, quit.clone());
    let operator = Arc::new(operator);
    let mut tasks = tokio::task::JoinSet::new();
    let resync = switch.settings().resync;
    if resync != 0 && switch.settings().store.is_some() {
        let core = core.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(resync.into())).await;
            let _ = core.end_resync().await;
        });
    }
    if let Some(client) = client {
        let stop = ended(quit.subscribe());
        tasks.spawn(async move {
            tokio::select! {
                () = client.run() => {}
                () = stop => {}
            }
            Ok(())
        });
    }
    if let Some(listener) = listener {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        tracing::info!("serving goal states on {}", listener.local_addr()?);
        let stop = ended(quit.subscribe());
        tasks.spawn(async move {
            southbound::service::serve(listener, core, stop)
                .await
                .map_err(|error| error.to_string())
        });
    }
    tracing::info!("serving operators on {}", path.display());
    let stop = ended(quit.subscribe());
    tasks.spawn(async move {
        northbound::serve(local, operator, stop)
            .await
            .map_err(|error| error.to_string())
    });
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        () = ended(quit.subscribe()) => None,
        Some(ended) = tasks.join_next() => Some(ended),
    };
    tracing::info!("shutting down");
    let _ = quit.send(true);
    let first = failure.into_iter().map(|ended| {
        ended
            .map_err(|error| error.to_string())
            .and_then(|result| result)
    });
    let mut result = first.collect::<Result<(), String>>();
    while let Some(ended) = tasks.join_next().await {
        result = result.and(
            ended
                .map_err(|error| error.to_string())
                .and_then(|result| result),
        );
    }
    result.map_err(Into::into)
}

/// Resolves when `quit` becomes true.
async fn ended(mut quit: watch::Receiver<bool>) {
    let _ = quit.wait_for(|quit| *quit).await;
}
