//! Servers that restart or are away while operations run.

mod chaos {
    use anyhow::{Context, Result, ensure};
    use runtime::fake::{Call, Effect, Fault};
    use std::time::Duration;
    use stories::invariants::{self, Secrets};
    use stories::{Stack, StackOptions, until};
    use testkit::Stop;

    const PATIENCE: Duration = Duration::from_secs(90);

    struct Rig {
        stack: Stack,
        serial: u32,
    }

    impl Rig {
        fn start() -> Result<Self> {
            let stack = Stack::start(&StackOptions { workers: 2, durable: true, ..StackOptions::default() })?;
            let mut rig = Self { stack, serial: 0 };
            let operation = rig.provision()?;
            rig.stack.await_success(&operation, PATIENCE)?;
            Ok(rig)
        }

        fn provision(&mut self) -> Result<String> {
            self.serial += 1;
            Ok(self.stack.provision(&self.stack.order(&format!("shop_{}", self.serial))?)?.1)
        }

        /// An operation that stands in the middle of its work for a while.
        fn in_the_middle(&mut self, milliseconds: u64) -> Result<String> {
            let fake = self.stack.fake.as_ref().context("a fake runtime")?;
            fake.fault(Fault { call: Call::Ensure, service: None, times: 1, effect: Effect::Delay(milliseconds) })?;
            let operation = self.provision()?;
            let begun =
                format!("SELECT 1 FROM instance_service.operation_steps WHERE operation_id = '{operation}' AND step = 'service'");
            until(PATIENCE, "an operation in the middle", || Ok((self.stack.platform_sql(&begun)? == "1").then_some(())))?;
            Ok(operation)
        }

        /// The operation comes to its end, later work does as well, and everything is in order.
        fn converges(&mut self, operation: &str) -> Result<()> {
            self.stack.await_success(operation, PATIENCE)?;
            let next = self.provision()?;
            self.stack.await_success(&next, PATIENCE)?;
            let violations = invariants::check(&self.stack, &mut Secrets::default())?;
            ensure!(violations.is_empty(), "{violations:#?}");
            Ok(())
        }
    }

    /// T9.
    #[test]
    fn postgres1_restart_mid_job() -> Result<()> {
        let mut rig = Rig::start()?;
        // Longer than a lease lives.
        let operation = rig.in_the_middle(6_000)?;
        rig.stack.pair.postgres1.stop(Stop::Fast)?;
        std::thread::sleep(Duration::from_secs(5));
        rig.stack.pair.postgres1.start_again()?;
        rig.converges(&operation)?;

        let operation = rig.in_the_middle(2_000)?;
        rig.stack.platform_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'instance_service'")?;
        rig.converges(&operation)?;

        for how in [Stop::Fast, Stop::Immediate] {
            let operation = rig.in_the_middle(2_000)?;
            rig.stack.pair.postgres1.restart(how)?;
            rig.converges(&operation)?;
        }
        Ok(())
    }

    #[test]
    fn postgres2_restart_mid_job() -> Result<()> {
        let mut rig = Rig::start()?;
        for how in [Stop::Fast, Stop::Immediate] {
            // Restarted while steps on it come and go.
            let operation = rig.provision()?;
            let begun =
                format!("SELECT 1 FROM instance_service.operation_steps WHERE operation_id = '{operation}' AND step = 'role'");
            until(PATIENCE, "steps on postgres2", || Ok((rig.stack.platform_sql(&begun)? == "1").then_some(())))?;
            rig.stack.pair.postgres2.restart(how)?;
            rig.converges(&operation)?;
        }
        Ok(())
    }

    /// Also at the start of a worker.
    #[test]
    fn without_postgres2_work_waits_and_metadata_is_served() -> Result<()> {
        let mut rig = Rig::start()?;
        rig.stack.pair.postgres2.stop(Stop::Fast)?;
        rig.stack.start_worker()?;
        let operation = rig.provision()?;
        let waiting = format!(
            "SELECT o.attempts || ' ' || coalesce(max(s.attempt), 0) FROM instance_service.operations o
               JOIN instance_service.operation_steps s ON s.operation_id = o.id
              WHERE o.id = '{operation}' AND o.state = 'waiting' GROUP BY o.id"
        );
        let mut seen = 0;
        let mut last = String::new();
        until(PATIENCE, "an operation that waits, several times", || {
            let now =
                rig.stack.platform_sql(&format!("SELECT wake_no FROM instance_service.operations WHERE id = '{operation}'"))?;
            let counts = rig.stack.platform_sql(&waiting)?;
            if !counts.is_empty() && now != last {
                ensure!(counts == "0 0", "attempts were burnt: {counts}");
                (seen, last) = (seen + 1, now);
            }
            Ok((seen >= 4).then_some(()))
        })?;
        metadata_is_served(&rig)?;
        rig.stack.pair.postgres2.start_again()?;
        rig.converges(&operation)
    }

    fn metadata_is_served(rig: &Rig) -> Result<()> {
        let order = rig.stack.order("meanwhile")?;
        let id = rig.stack.post("/api/v1/instances/", order.body())?.expect(201)?.text("id")?;
        let of =
            |field: &str| order.body()[field].as_str().map(str::to_owned).context("an order names customer and subscription");
        let (customer, subscription) = (of("customer_id")?, of("subscription_id")?);
        for path in [
            format!("/api/v1/instances/{id}"),
            format!("/api/v1/instances/{id}/status"),
            format!("/api/v1/instances/by-subscription/{subscription}"),
            format!("/api/v1/instances/?customer_id={customer}"),
            format!("/api/v1/operations?instance_id={id}"),
            "/readyz".to_owned(),
        ] {
            rig.stack.get(&path)?.expect(200).with_context(|| path.clone())?;
        }
        rig.stack.delete(&format!("/api/v1/instances/{id}"))?.expect(200).map(drop)
    }
}
