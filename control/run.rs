// SPDX-License-Identifier: MIT
//! `alkaid run`: the daemon, from its configuration to its end.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Type};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::service::Routes;

use crate::config::Settings;
use crate::core::{Core, CoreHandle, ETHERNET_MTU, Replies, channel};
use crate::northbound::{Socket, socket};
use crate::ondemand::OnDemand;
use crate::southbound::service;
use crate::southbound::subscribe::{self, Subscriptions};
use crate::store::{Journal, Store};
use crate::switch::{Operator, Switch, Vports, cores, presence};
use crate::tls::{self, ServerKeys};
use crate::underlay::Underlay;
use crate::watch::{self as watching, Watch};
use crate::{goal_watch, northbound, ondemand, server};

/// Threads of the gRPC runtime: one decodes a large goal state while the other answers an operator.
const RPC_THREADS: usize = 2;

/// Connections that wait to be accepted, of an address that is listened at in advance: std's number.
const BACKLOG: i32 = 128;

/// Runs the switch until it is told to end.
pub(crate) fn run(settings: Settings) -> Result<bool, Box<dyn Error>> {
    let doors = Doors::open(&settings)?;
    let journal = settings.store.as_deref().map(Journal::open).transpose()?;
    let (switch, mut core) = Switch::bring_up(settings)?;
    let (handle, requests) = channel();
    warn_of_short_packets(&core);
    let underlay = Underlay::new(&switch, &mut core);
    let vports = Vports::new(&switch, &mut core);
    let kept = journal.map(|journal| keep(&mut core, journal, handle.write_out()));
    let store = match kept.transpose() {
        Ok(store) => store,
        Err(error) => {
            drop(underlay); // it looks at the ports
            switch.shut_down();
            return Err(error);
        }
    };
    cores::leave_to_workers(&switch.worker_cores());
    let replies = core.replies();
    let (on_demand, client) = OnDemand::start(&switch, &mut core, &handle)?.unzip();
    core.set_out();
    let control = std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || core.run(requests))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RPC_THREADS)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(
        &switch, handle, replies, doors, client, underlay, vports,
    ));
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

/// Guests have an MTU of 1500 unless they are told otherwise.
fn warn_of_short_packets(core: &Core) {
    let uplink = core.site().uplinks.first().map(|uplink| uplink.mtu);
    let left = core.site().tenant_mtu();
    if let Some(mtu) = uplink.filter(|_| left < ETHERNET_MTU) {
        tracing::warn!(
            "the uplink's MTU of {mtu} leaves guests {left} bytes for packets to other hosts; for {ETHERNET_MTU}, set it with \
             `port config N mtu` as far as the network between the hosts takes it"
        );
    }
}

/// Programs what the store has kept, and keeps what comes from now on. Returns the thread that writes.
fn keep(
    core: &mut Core,
    mut journal: Journal,
    wake: impl Fn() + Send + 'static,
) -> Result<JoinHandle<()>, Box<dyn Error>> {
    let begun = Instant::now();
    let resources = core.restore(&mut journal)?;
    tracing::info!(
        resources,
        seconds = begun.elapsed().as_secs_f64(),
        "what the store has kept is programmed"
    );
    let (store, thread) = Store::start(journal, wake)?;
    core.keep_in(store);
    Ok(thread)
}

/// Where the controller comes in.
struct Doors {
    southbound: Option<std::net::TcpListener>,
    subscribe: Option<std::net::TcpListener>,
    metrics: Option<std::net::TcpListener>,
    keys: Option<Arc<ServerKeys>>,
}

impl Doors {
    /// Opens them, and checks what is needed to go out, before anything is started.
    fn open(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        if let Some(address) = settings.on_demand.ncm {
            tls::endpoint(&address.to_string(), settings.ncm_tls.as_ref())?;
        } else if settings.ncm_tls.is_some() {
            tracing::warn!("`set ncm tls` has no effect without `set ncm`");
        }
        let tls = settings.southbound_tls.clone();
        Ok(Self {
            southbound: settings.southbound.map(listen).transpose()?,
            subscribe: settings.subscribe.map(listen).transpose()?,
            metrics: settings.metrics.map(listen).transpose()?,
            keys: tls.map(ServerKeys::load).transpose()?,
        })
    }
}

/// Listens at an address; where no interface has it, as soon as one does. That may be a port of this switch.
fn listen(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let listener = match std::net::TcpListener::bind(address) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            tracing::warn!(
                "no interface has the address {} yet: nobody can connect there",
                address.ip()
            );
            listen_in_advance(address)
        }
        listener => listener,
    };
    listener
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| format!("the address {address} cannot be listened on: {error}"))
}

/// By ip(7)'s `IP_FREEBIND`.
fn listen_in_advance(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds what the configuration binds, starts forwarding, and serves controller and operators until a signal or
/// `quit`.
async fn serve(
    switch: &Switch,
    core: CoreHandle,
    replies: Replies,
    doors: Doors,
    client: Option<ondemand::Client>,
    underlay: Option<Underlay>,
    vports: Option<Vports>,
) -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Taken before anybody can see that the switch runs: a hangup never ends it, with TLS or without.
    let hangup = signal(SignalKind::hangup())?;
    let path = switch
        .settings()
        .control_socket
        .clone()
        .unwrap_or_else(socket::default_path);
    let local = Socket::bind(&path)?;
    switch.devices().tell_absent(&core).await?;
    for (port, id) in switch.settings().bindings() {
        core.bind(port, id).await??;
    }
    if switch.settings().start {
        switch.start();
    }
    let (quit, _) = watch::channel(false);
    let subscriptions = Arc::<Subscriptions>::default();
    let asked = client.as_ref().map(ondemand::Client::shared);
    let known = underlay.as_ref().map(Underlay::known);
    let watch = Watch::new(switch, core.clone(), replies, asked.clone(), known.clone());
    let operator = Arc::new(Operator::new(
        switch,
        core.clone(),
        asked,
        known,
        Arc::clone(&watch),
        Arc::clone(&subscriptions),
        quit.clone(),
    ));
    let mut tasks = Tasks::new(&quit);
    tasks.until_quit(presence::follow(switch.devices(), core.clone()));
    if let Some(vports) = vports {
        tasks.until_quit(vports.run(core.clone()));
    }
    if let Some(client) = client {
        tasks.until_quit(async move {
            client.run().await;
            Err::<(), _>("the thread that asks the controller has ended")
        });
    }
    let resync = Duration::from_secs(switch.settings().resync.into());
    if !resync.is_zero() && switch.settings().store.is_none() {
        tracing::warn!("`set resync` has no effect without `set store`");
    } else if !resync.is_zero() {
        let core = core.clone();
        tokio::spawn(async move {
            tokio::time::sleep(resync).await;
            let _ = core.end_resync().await;
        });
    }
    if let Some(path) = switch.settings().goal_state.clone() {
        let follow = goal_watch::follow(path, core.clone());
        tasks.until_quit(follow);
    }
    if let Some(keys) = doors.keys.clone() {
        tasks.until_quit(async move {
            keys.follow(hangup).await;
            Ok::<(), String>(())
        });
    }
    if let Some(listener) = doors.southbound {
        let routes = service::routes(core.clone());
        tasks.door("goal states", listener, routes, &doors.keys)?;
    }
    if let Some(listener) = doors.subscribe {
        let routes = subscribe::routes(subscriptions);
        tasks.door("subscriptions", listener, routes, &doors.keys)?;
    }
    if let Some(underlay) = underlay {
        let quit = quit.subscribe();
        // A thread, which the end of the runtime waits for.
        let run = move || underlay.run(&core, || *quit.borrow());
        tasks.until_quit(tokio::task::spawn_blocking(run));
    }
    if let Some(listener) = doors.metrics {
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        tracing::info!(service = "metrics", %address, "serving metrics on {address}");
        let stop = ended(quit.subscribe());
        tasks.spawn(watching::http::serve(Arc::clone(&watch), listener, stop));
    }
    let looking = Arc::clone(&watch);
    tasks.until_quit(async move {
        looking.look().await;
        Ok::<(), String>(())
    });
    tracing::info!(service = "operators", path = %path.display(), "serving operators on {}", path.display());
    let stop = ended(quit.subscribe());
    tasks.spawn(northbound::serve(local, operator, stop));
    tasks.until_quit(async move {
        watching::notify::run(watch).await;
        Ok::<(), String>(())
    });
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        () = ended(quit.subscribe()) => None,
        ended = tasks.next() => ended,
    };
    tracing::info!("shutting down");
    watching::notify::stopping();
    let _ = quit.send(true);
    let mut result = failure.unwrap_or(Ok(()));
    while let Some(ended) = tasks.next().await {
        result = result.and(ended);
    }
    result.map_err(Into::into)
}

/// What goes on until the end is called.
struct Tasks<'a> {
    set: JoinSet<Result<(), String>>,
    quit: &'a watch::Sender<bool>,
}

impl<'a> Tasks<'a> {
    fn new(quit: &'a watch::Sender<bool>) -> Self {
        let set = JoinSet::new();
        Self { set, quit }
    }

    /// One that ends by itself when the end is called.
    fn spawn<E: Error>(&mut self, task: impl Future<Output = Result<(), E>> + Send + 'static) {
        self.set
            .spawn(async { task.await.map_err(|error| error.to_string()) });
    }

    /// One that is to be dropped then.
    fn until_quit<E: ToString>(
        &mut self,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let quit = ended(self.quit.subscribe());
        self.set.spawn(async {
            tokio::select! {
                () = quit => Ok(()),
                result = task => result.map_err(|error| error.to_string()),
            }
        });
    }

    /// A service of the controller.
    fn door(
        &mut self,
        what: &str,
        listener: std::net::TcpListener,
        routes: Routes,
        keys: &Option<Arc<ServerKeys>>,
    ) -> std::io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let how = if keys.is_some() { " over TLS" } else { "" };
        let address = listener.local_addr()?;
        tracing::info!(service = what, %address, "serving {what} on {address}{how}");
        let stop = ended(self.quit.subscribe());
        self.spawn(server::serve(routes, listener, keys.clone(), stop));
        Ok(())
    }

    /// The result of one that has ended; `None`: all have.
    async fn next(&mut self) -> Option<Result<(), String>> {
        let ended = self.set.join_next().await?;
        Some(
            ended
                .map_err(|error| error.to_string())
                .and_then(|result| result),
        )
    }
}

/// Resolves when `quit` becomes true.
async fn ended(mut quit: watch::Receiver<bool>) {
    let _ = quit.wait_for(|quit| *quit).await;
}
