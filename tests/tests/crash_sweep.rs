//! The crash sweep over every fault point that the workers list (engine 16). `INSTANCE_SOAK=1` takes all of them.

mod chaos {
    use anyhow::{Result, ensure};
    use std::path::Path;
    use stories::sweep::{self, Length, Plan};

    #[test]
    fn killed_anywhere_another_worker_finishes() -> Result<()> {
        let plan = Plan::make(Length::from_environment())?;
        let kinds = ["provision", "delete", "terminate", "build_template"];
        ensure!(plan.chosen.len() >= kinds.len(), "only {} points of {}", plan.chosen.len(), plan.all);
        let begin = std::time::Instant::now();
        let heading = format!("{} of {} points: {}", plan.chosen.len(), plan.all, plan.rule);
        let report = sweep::run(plan.chosen)?;
        let text = format!("{heading}\n{report}took {:.0} s\n", begin.elapsed().as_secs_f64());
        println!("{text}");
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash-sweep.txt"), &text)?;
        ensure!(report.failures().is_empty(), "{text}");
        Ok(())
    }
}
