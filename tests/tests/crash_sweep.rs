//! The crash sweep over the fault points that the workers list (engine 16): a part that changes from day to day, all of them
//! with `INSTANCE_SOAK=1`, or those whose names contain `INSTANCE_SWEEP`. The table is in `crash-sweep.txt` among cargo's
//! temporary files.

mod chaos {
    use anyhow::{Result, ensure};
    use std::path::Path;
    use stories::sweep::{self, Length, Plan};

    #[test]
    fn killed_anywhere_another_worker_finishes() -> Result<()> {
        let plan = Plan::make(Length::from_environment())?;
        ensure!(!plan.chosen.is_empty(), "no point is chosen: {}", plan.rule);
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
