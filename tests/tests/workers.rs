//! What happens to the work of workers that are killed, stopped, asked to end, or that meet at one operation (engine 4).

mod chaos {
    use anyhow::{Context, Result, ensure};
    use runtime::fake::{Call, Effect, Fault};
    use rustix::process::Signal;
    use std::time::{Duration, Instant};
    use stories::faults::{Action, Armed};
    use stories::invariants::{self, Secrets};
    use stories::{Stack, StackOptions, Zombie, eventually, until};

    const PATIENCE: Duration = Duration::from_secs(90);

    fn start(workers: usize) -> Result<Stack> {
        let stack = Stack::start(&StackOptions { workers, durable: true, ..StackOptions::default() })?;
        let (_, operation) = stack.provision(&stack.order("first")?)?;
        stack.await_success(&operation, PATIENCE)?;
        Ok(stack)
    }

    fn sound(stack: &Stack) -> Result<()> {
        let violations = invariants::check(stack, &mut Secrets::default())?;
        ensure!(violations.is_empty(), "{violations:#?}");
        Ok(())
    }

    fn fault(stack: &Stack, times: u32, effect: Effect) -> Result<()> {
        let fake = stack.fake.as_ref().context("a fake runtime")?;
        fake.fault(Fault { call: Call::Ensure, service: None, times, effect })
    }

    fn under_way(stack: &Stack, operation: &str, step: &str) -> Result<()> {
        let query = format!(
            "SELECT 1 FROM instance_service.operation_steps
              WHERE operation_id = '{operation}' AND step = '{step}' AND phase = 'apply' AND status = 'started'"
        );
        until(PATIENCE, &format!("step {step} under way"), || Ok((stack.platform_sql(&query)? == "1").then_some(())))
    }

    /// A token counts the claims of a scope.
    fn claimed_once(stack: &Stack, operations: &[String]) -> Result<()> {
        let again = stack.platform_sql(&format!(
            "SELECT string_agg(o.id || ' ' || l.token, ', ')
               FROM instance_service.operations o JOIN instance_service.leases l ON l.resource = o.scope
              WHERE o.id = ANY ('{{{}}}') AND l.token <> 1",
            operations.join(",")
        ))?;
        ensure!(again.is_empty(), "claimed more than once: {again}");
        Ok(())
    }

    /// T1.
    #[test]
    fn killed_worker_is_replaced() -> Result<()> {
        let mut stack = start(2)?;
        stack.faults().arm(&[Armed::once("provision/database/apply/before", Action::Pause)])?;
        let (_, operation) = stack.provision(&stack.order("second")?)?;
        under_way(&stack, &operation, "database")?;
        let holder = stack.holder_of(&operation)?;
        let killed = Instant::now();
        stack.workers[holder].process.signal(Signal::KILL)?;
        stack.workers[holder].process.wait(PATIENCE)?;
        let taken = format!("SELECT 1 FROM instance_service.operations WHERE id = '{operation}' AND lease_token > 1");
        until(Duration::from_secs(10), "another owner", || Ok((stack.platform_sql(&taken)? == "1").then_some(())))?;
        ensure!(killed.elapsed() <= Duration::from_secs(10), "taken over after {:?}", killed.elapsed());
        stack.await_success(&operation, PATIENCE)?;
        sound(&stack)
    }

    /// T7, with real deaths: each worker that takes it up dies before it can say why.
    #[test]
    fn poison_operation_is_quarantined() -> Result<()> {
        let mut stack = Stack::start(&StackOptions::default())?;
        let (first, operation) = stack.provision(&stack.order("first")?)?;
        stack.await_success(&operation, PATIENCE)?;
        let point = "provision/role/apply/before".to_owned();
        stack.faults().arm(&[Armed { point, action: Action::Kill, times: 20 }])?;
        let (_, poison) = stack.provision(&stack.order("poison")?)?;
        let state = format!("SELECT state FROM instance_service.operations WHERE id = '{poison}'");
        eventually(Duration::from_secs(240), "an operation that is set aside", || {
            for _ in 0..stack.bury_workers()? {
                stack.start_worker_unwaited()?;
            }
            Ok((stack.platform_sql(&state)? == "needs_attention").then_some(()))
        })?;
        // The first of them did some steps before, so that it was not silent; then five were.
        let deaths = stack.faults().turns_taken()?;
        ensure!((5..=6).contains(&deaths), "{deaths} workers died of it");
        // Others go on, the same kind included, once nothing kills it.
        stack.await_success(&stack.remove(&first)?, PATIENCE)?;
        stack.faults().disarm()?;
        let (_, other) = stack.provision(&stack.order("other")?)?;
        stack.await_success(&other, PATIENCE)?;
        sound(&stack)
    }

    /// T8.
    #[test]
    fn sigterm_drains() -> Result<()> {
        let mut stack = start(1)?;
        fault(&stack, 1, Effect::Delay(3_000))?;
        let (_, operation) = stack.provision(&stack.order("second")?)?;
        under_way(&stack, &operation, "service")?;
        stack.workers[0].process.signal(Signal::TERM)?;
        // Accepted while nobody takes work: its wake-up stays where it is.
        let (_, unclaimed) = stack.provision(&stack.order("third")?)?;
        // What contract 10 allows it.
        let status = stack.workers[0].process.wait(Duration::from_secs(60))?;
        ensure!(status.success(), "it ended with {status}");
        let service = stack.platform_sql(&format!(
            "SELECT status FROM instance_service.operation_steps WHERE operation_id = '{operation}' AND step = 'service'"
        ))?;
        ensure!(service == "done", "the step in flight was left {service}");
        let free = stack.platform_sql("SELECT count(*) FROM instance_service.leases WHERE expires_at > clock_timestamp()")?;
        ensure!(free == "0", "{free} leases are not free");
        let waiting = stack.platform_sql(&format!(
            "SELECT o.state || ' ' || o.claims || ' ' || string_agg(j.status, ' ')
               FROM instance_service.operations o JOIN apalis.jobs j ON j.idempotency_key LIKE o.id || ':%'
              WHERE o.id = '{unclaimed}' GROUP BY o.id"
        ))?;
        ensure!(waiting == "queued 0 Pending", "what nobody had claimed is now {waiting}");
        stack.start_worker()?;
        stack.await_success(&operation, PATIENCE)?;
        stack.await_success(&unclaimed, PATIENCE)?;
        sound(&stack)
    }

    /// T10, with the fence in hand: the hardest moment to be stopped at.
    #[test]
    fn stopped_worker_is_fenced() -> Result<()> {
        let mut stack = start(1)?;
        let zombie = Zombie::make(&mut stack, &[])?;
        zombie.wake(&stack)?;
        zombie.await_insight(&stack)?;
        let journal = stack.platform_sql(&format!(
            "SELECT count(*) FROM instance_service.operation_steps
              WHERE operation_id = '{}' AND lease_token = {} AND step NOT IN ('begin', 'image', 'place', 'secrets')",
            zombie.operation, zombie.token
        ))?;
        ensure!(journal == "0", "it wrote {journal} entries of the journal after it was stopped");
        let changes = zombie.changes(&stack)?;
        ensure!(changes.is_empty(), "it changed postgres2: {changes:?}");
        sound(&stack)
    }

    /// Both find a wake-up for the same operation at the same moment, again and again.
    #[test]
    fn of_two_workers_one_gets_the_operation() -> Result<()> {
        let stack = start(2)?;
        for worker in &stack.workers {
            worker.process.signal(Signal::STOP)?;
        }
        let operations: Vec<String> =
            (0..5).map(|n| Ok(stack.provision(&stack.order(&format!("raced_{n}"))?)?.1)).collect::<Result<_>>()?;
        stack.platform_sql(
            "INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata, idempotency_key)
             SELECT apalis.generate_ulid(), job_type, job, 'Pending', 0, 1, now(), priority, metadata, idempotency_key || ':' || n
               FROM apalis.jobs, generate_series(1, 10) n WHERE status = 'Pending'",
        )?;
        for worker in &stack.workers {
            worker.process.signal(Signal::CONT)?;
        }
        for operation in &operations {
            stack.await_success(operation, PATIENCE)?;
        }
        claimed_once(&stack, &operations)?;
        sound(&stack)
    }

    /// A file system that is not mounted is an empty directory: nobody makes anything in it.
    #[test]
    fn an_empty_root_is_refused() -> Result<()> {
        let mut stack = start(1)?;
        let (_, operation) = stack.provision(&stack.order("shop")?)?;
        stack.await_success(&operation, PATIENCE)?;
        stack.workers.remove(0);
        let (root, away) = (stack.instances_path(), stack.log_directory().join("away"));
        std::fs::rename(&root, &away)?;
        std::fs::create_dir(&root)?;
        stack.start_worker_unwaited()?;
        let mut refused = stack.workers.remove(0).process;
        let status = refused.wait(PATIENCE)?;
        ensure!(status.code() == Some(3), "{status}");
        ensure!(refused.output()?.contains("mount its file system"), "{}", refused.output()?);
        ensure!(std::fs::read_dir(&root)?.next().is_none(), "something was made in the empty root");
        // The same for a deployment that does not know its root's id yet: its instances' directories tell.
        stack.platform_sql("DELETE FROM instance_service.settings WHERE name = 'instances_root'")?;
        stack.start_worker_unwaited()?;
        let mut refused = stack.workers.remove(0).process;
        ensure!(refused.wait(PATIENCE)?.code() == Some(3), "{}", refused.output()?);
        ensure!(refused.output()?.contains("holds no directory of any instance"), "{}", refused.output()?);
        ensure!(std::fs::read_dir(&root)?.next().is_none(), "something was made in the empty root");
        std::fs::remove_dir(&root)?;
        std::fs::rename(&away, &root)?;
        stack.start_worker()?;
        sound(&stack)
    }

    /// T18.
    #[test]
    fn fixed_settings_start_each_job_once() -> Result<()> {
        let environment = vec![("WORKER_CONCURRENCY".to_owned(), "8".to_owned())];
        let stack = Stack::start(&StackOptions { workers: 2, environment, ..StackOptions::default() })?;
        let (_, first) = stack.provision(&stack.order("first")?)?;
        stack.await_success(&first, PATIENCE)?;
        fault(&stack, 14, Effect::Delay(7_000))?;
        let _load = stories::Load::on_all_processors();
        let operations: Vec<String> =
            (0..14).map(|n| Ok(stack.provision(&stack.order(&format!("long_{n}"))?)?.1)).collect::<Result<_>>()?;
        for operation in &operations {
            stack.await_success(operation, Duration::from_secs(180))?;
        }
        claimed_once(&stack, &operations)?;
        sound(&stack)
    }
}
