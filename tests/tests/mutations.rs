//! Proof that the invariants see: each of these mistakes, made on purpose, is reported (engine 16).

mod chaos {
    use anyhow::{Context, Result, ensure};
    use std::time::Duration;
    use stories::faults::{Action, Armed};
    use stories::invariants::{self, Bystander, Secrets, Violation};
    use stories::{Stack, StackOptions, Zombie, eventually, until};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn look(stack: &Stack) -> Result<Vec<Violation>> {
        invariants::check(stack, &mut Secrets::default())
    }

    fn has(violations: &[Violation], invariant: &str, words: &str) -> bool {
        violations.iter().any(|violation| violation.invariant == invariant && violation.what.contains(words))
    }

    /// A stack in which one instance was made without any mistake, and nothing is reported.
    fn sound(workers: usize) -> Result<Stack> {
        let stack = Stack::start(&StackOptions { workers, ..StackOptions::default() })?;
        let (_, operation) = stack.provision(&stack.order("sound")?)?;
        stack.await_success(&operation, PATIENCE)?;
        let violations = look(&stack)?;
        ensure!(violations.is_empty(), "nothing was broken, yet: {violations:?}");
        Ok(stack)
    }

    #[test]
    fn a_revoke_left_out_is_reported() -> Result<()> {
        let stack = sound(1)?;
        stack.faults().mutate(&[], &["skip_revoke"])?;
        let (_, operation) = stack.provision(&stack.order("open")?)?;
        stack.await_success(&operation, PATIENCE)?;
        let violations = look(&stack)?;
        ensure!(has(&violations, "I6", "PUBLIC has rights in its database"), "{violations:?}");
        Ok(())
    }

    #[test]
    fn a_step_that_repeats_its_effect_is_reported() -> Result<()> {
        let mut stack = sound(2)?;
        let killed = Armed::once("provision/service/apply/after", Action::Kill);
        stack.faults().mutate(&[killed], &["service_per_owner"])?;
        let (_, operation) = stack.provision(&stack.order("twice")?)?;
        until(PATIENCE, "a killed worker", || Ok((stack.bury_workers()? == 1).then_some(())))?;
        // Nobody ever sees the service ready under its own name, so the operation goes on waiting.
        let again = format!(
            "SELECT 1 FROM instance_service.operation_steps WHERE operation_id = '{operation}' AND step = 'service' AND status = 'done'"
        );
        eventually(PATIENCE, "the step, done again", || Ok((stack.platform_sql(&again)? == "1").then_some(())))?;
        let violations = look(&stack)?;
        ensure!(has(&violations, "I2", "belongs to nobody"), "{violations:?}");
        ensure!(has(&violations, "I3", "writers at once"), "{violations:?}");
        Ok(())
    }

    #[test]
    fn a_neighbour_that_is_harmed_is_reported() -> Result<()> {
        let stack = sound(1)?;
        let mut bystander = Bystander::settle(&stack, PATIENCE)?;
        let (gone, operation) = stack.provision(&stack.order("gone")?)?;
        stack.await_success(&operation, PATIENCE)?;
        let noticed = bystander.check(&stack)?;
        ensure!(noticed.is_empty(), "nobody was harmed, yet: {noticed:?}");
        stack.faults().mutate(&[], &["cut_everybody"])?;
        stack.await_success(&stack.remove(&gone)?, PATIENCE)?;
        let noticed = bystander.check(&stack)?;
        ensure!(has(&noticed, "I5", "its session on postgres2 was cut"), "{noticed:?}");
        Ok(())
    }

    #[test]
    fn a_fence_that_is_ignored_is_reported() -> Result<()> {
        let mut stack = sound(1)?;
        let zombie = Zombie::make(&mut stack, &["ignore_fence"])?;
        zombie.wake(&stack)?;
        // The resumed worker makes the role of an instance that is long gone.
        let orphan = until(PATIENCE, "an orphan role", || {
            let violations = look(&stack)?;
            Ok(has(&violations, "I2", "belongs to nobody on postgres2: role").then_some(violations))
        });
        orphan.map(drop).context("the mistake was not seen")
    }
}
