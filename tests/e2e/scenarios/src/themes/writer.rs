//! A client that writes with fsync, says what it was told is stored, and reads it again.

use anyhow::{Context, Result, ensure};

use crate::manifest;
use crate::scene::{SOON, Scene, restarts, until};

/// Numbers lines, and prints a number when its line is on the disk and can be read.
const PROGRAM: &str = r#"
n=0
while :; do
    n=$((n + 1))
    line="$n $(head -c 32 /dev/urandom | sha256sum)"
    echo "$line" | dd of=/log/lines oflag=append conv=notrunc,fsync status=none || { echo "ERROR: line $n was not written"; continue; }
    [ "$(tail -n 1 /log/lines)" = "$line" ] || echo "ERROR: line $n is not there"
    echo "$n"
    usleep 20000
done 2>&1"#;

pub struct Writer<'a> {
    scene: &'a Scene,
    pub pod: String,
}

impl<'a> Writer<'a> {
    /// Starts one on this node, and returns when it has written.
    pub async fn start(scene: &'a Scene, node: &str) -> Result<Self> {
        let pod = format!("writer-{node}");
        let claim = format!("log-{node}");
        scene.apply(&manifest::claim(&claim, "1Gi")).await?;
        let program = manifest::program(&pod, &[claim.as_str()], PROGRAM)
            .set("/spec/containers/0/volumeMounts/0/mountPath", "/log")
            .set("/spec/terminationGracePeriodSeconds", 1)
            .on(node);
        scene.start(&program).await?;
        let writer = Self { scene, pod };
        writer.goes_on().await?;
        Ok(writer)
    }

    /// The number of the last line that it was told is stored.
    pub async fn acknowledged(&self) -> Result<u64> {
        let log = self.scene.log(&self.pod).await?;
        ensure!(!log.contains("ERROR"), "{} says: {log}", self.pod);
        log.lines()
            .last()
            .context("nothing is written yet")?
            .parse()
            .context("its log is no number")
    }

    /// Waits until it has written some more, and returns the last number.
    pub async fn goes_on(&self) -> Result<u64> {
        let before = self.acknowledged().await.unwrap_or(0);
        until(format!("{} writes", self.pod), SOON, async || {
            let now = self.acknowledged().await?;
            ensure!(now > before + 5, "it is at {now}, and was at {before}");
            Ok(now)
        })
        .await
    }

    /// It saw no error, was never started anew, and all that it was told is stored is there.
    pub async fn is_well(&self) -> Result<()> {
        self.goes_on().await?;
        let restarts = restarts(&self.scene.pod(&self.pod).await?);
        ensure!(restarts == 0, "{} was started anew {restarts} times", self.pod);
        let acknowledged = self.acknowledged().await?;
        let lines = self.has_all(acknowledged).await?;
        self.scene.saw(format!(
            "{}: no error, {acknowledged} lines acknowledged, {lines} there",
            self.pod
        ));
        Ok(())
    }

    /// Reads the file and fails if a line is missing up to that number. Returns how many there are.
    pub async fn has_all(&self, acknowledged: u64) -> Result<u64> {
        let file = self.scene.sh(&self.pod, "cat /log/lines").await?;
        check(&file, acknowledged).with_context(|| format!("the file of {}", self.pod))
    }
}

/// Each line has the number that its place says, and there are enough of them.
pub fn check(file: &str, acknowledged: u64) -> Result<u64> {
    let mut lines = 0;
    for line in file.lines() {
        lines += 1;
        // "17 <64 digits>  -", and the last line may be on its way.
        let whole = line.starts_with(&format!("{lines} ")) && line.ends_with("  -");
        ensure!(whole || lines > acknowledged, "line {lines} is {line:?}");
    }
    ensure!(
        lines >= acknowledged,
        "{acknowledged} lines were acknowledged, and {lines} are there"
    );
    Ok(lines)
}
