//! A volume that is tried: how its steps are taken, and how its state is read off the disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use berth::proto::csi;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::common::Clients;
use super::common::disk::{mount_depth, names};
use super::common::random::Random;
use super::common::requests::{MIB, create_with};
use super::model::{Data, Record, State, Step, Target};

const MODE: u32 = 0o2770;
const OWNER: (u32, u32) = (1001, 1002);

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Place {
    pub pool: PathBuf,
    pub kubelet: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Volume {
    pub id: String,
    pub staging: PathBuf,
    pub target: PathBuf,
    request: csi::CreateVolumeRequest,
    pub place: Place,
    /// What it has to be like when nothing is going on.
    pub state: State,
}

impl Volume {
    /// A volume that is still to be made, and the kubelet's directories for it.
    pub fn new(place: &Place, random: &mut Random, retention: &str) -> Self {
        let id = random.claim_name();
        let parameters = [
            ("berth.dev/mode", "2770"),
            ("berth.dev/uid", &OWNER.0.to_string()),
            ("berth.dev/gid", &OWNER.1.to_string()),
            ("berth.dev/trash-retention", retention),
            ("csi.storage.k8s.io/pvc/namespace", &format!("of-{id}")),
            ("csi.storage.k8s.io/pvc/name", "data"),
        ];
        let volume = Self {
            staging: place
                .kubelet
                .join(format!("plugins/kubernetes.io/csi/csi.berth.dev/{id}/globalmount")),
            target: place
                .kubelet
                .join(format!("pods/pod/volumes/kubernetes.io~csi/{id}/mount")),
            request: create_with(&id, MIB, &parameters),
            place: place.clone(),
            state: State::default(),
            id,
        };
        fs::create_dir_all(&volume.staging).unwrap();
        fs::create_dir_all(volume.target.parent().unwrap()).unwrap();
        volume
    }

    /// Takes a step.
    pub async fn take(&self, step: Step, clients: &Clients) -> Result<(), Status> {
        let Self {
            id, staging, target, ..
        } = self;
        match step {
            Step::Create => {
                let made = clients.create_from(self.request.clone()).await?;
                assert_eq!(made, *id);
                Ok(())
            }
            Step::Fill => {
                self.fill();
                Ok(())
            }
            Step::Stage => clients.stage(id, staging).await,
            Step::Publish => clients.publish(id, staging, target).await,
            Step::Unpublish => clients.unpublish(id, target).await,
            Step::Unstage => clients.unstage(id, staging).await,
            Step::Delete | Step::DeleteAndKeep => clients.delete(id).await,
            Step::Undelete => clients.undelete(id).await.map(drop),
        }
    }

    fn fill(&self) {
        for (path, content) in self.files() {
            let path = self.home().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// What is written into it.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let content = |name: &str| format!("{} {name} ", self.id).repeat(40).into_bytes();
        let names = ["data", "a/one", "a/b/c/deep", "z"];
        names.map(|name| (PathBuf::from(name), content(name))).into()
    }

    pub fn home(&self) -> PathBuf {
        self.place.pool.join("volumes").join(&self.id)
    }

    pub fn trash(&self) -> PathBuf {
        self.place.pool.join(".berth/trash").join(&self.id)
    }

    /// The directory of its claim's link: a namespace of its own.
    pub fn namespace(&self) -> PathBuf {
        self.place.pool.join("by-claim").join(format!("of-{}", self.id))
    }

    /// The record of a volume that is not deleted.
    pub fn record(&self) -> PathBuf {
        self.place.pool.join(format!(".berth/records/{}.json", self.id))
    }

    /// Reads its state off the disk and the mount table, and refuses what is never to be seen.
    pub fn look(&self) -> State {
        let state = State {
            record: self.look_at_record(),
            home: self.look_at_data(&self.home()),
            trash: self.look_at_data(&self.trash()),
            link: self.look_at_link(),
            staged: self.is_mounted(&self.staging),
            target: match self.target.exists() {
                false => Target::None,
                true if self.is_mounted(&self.target) => Target::Mounted,
                true => Target::Directory,
            },
        };
        if state.record == Record::Live && state.home != Data::None {
            let found = fs::metadata(self.home()).unwrap();
            let attributes = (found.mode() & 0o7777, (found.uid(), found.gid()));
            assert_eq!(attributes, (MODE, OWNER), "mode and owner of {}", self.id);
        }
        state
    }

    /// The names of its records.
    pub fn records(&self) -> Vec<String> {
        let names = names(&self.place.pool.join(".berth/records")).into_iter();
        names.filter(|name| name.starts_with(&self.id)).collect()
    }

    fn look_at_record(&self) -> Record {
        let records = self.records();
        let [name] = records.as_slice() else {
            assert!(records.is_empty(), "a volume with {records:?}");
            return Record::None;
        };
        let body = sealed(&self.place.pool.join(".berth/records").join(name));
        assert_eq!(body["id"], *self.id);
        assert_eq!(body["capacity_bytes"], MIB);
        assert_eq!((&body["uid"], &body["gid"]), (&OWNER.0.into(), &OWNER.1.into()));
        match name.strip_prefix(&self.id) {
            Some(".json") => Record::Live,
            Some(".purging") => Record::Purging,
            Some(kind) if kind.starts_with(".deleted.") => Record::Kept,
            _ => panic!("a record {name}"),
        }
    }

    fn look_at_data(&self, directory: &Path) -> Data {
        if !directory.exists() {
            return Data::None;
        }
        let found = tree(directory);
        match names(directory).is_empty() {
            true => Data::Empty,
            false if found == self.files() => Data::Whole,
            false => Data::Part,
        }
    }

    fn look_at_link(&self) -> bool {
        let link = self.namespace().join("data");
        let is_there = link.is_symlink();
        if is_there {
            let leads_to = fs::read_link(&link).unwrap();
            assert_eq!(leads_to, Path::new("../../volumes").join(&self.id));
        }
        is_there
    }

    /// Whether it is mounted there, once and in full.
    fn is_mounted(&self, path: &Path) -> bool {
        let depth = mount_depth(path);
        assert!(depth < 2, "{depth} mounts at {}", path.display());
        if depth == 1 {
            let same = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).unwrap();
            assert_eq!(same(path), same(&self.home()), "what is mounted at {}", path.display());
        }
        depth == 1
    }
}

/// Reads a file that Berth sealed: complete and with the right checksum, as `docs/on-disk-format.md`
/// tells it, or not at all.
pub fn sealed(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).unwrap();
    let torn = || format!("{} is torn: {text:?}", path.display());
    let whole: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", torn()));
    let body = text
        .split_once(r#""body":"#)
        .and_then(|(_, rest)| rest.strip_suffix("}\n"));
    let body = body.unwrap_or_else(|| panic!("{}", torn()));
    let format = u32::try_from(whole["format"].as_u64().unwrap()).unwrap();
    let digest = Sha256::new()
        .chain_update(format.to_be_bytes())
        .chain_update(body)
        .finalize();
    let checksum: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(whole["checksum"], format!("sha256:{checksum}"), "{}", torn());
    whole["body"].clone()
}

/// Every file beneath a directory.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for name in names(directory) {
        let path = directory.join(&name);
        if path.is_dir() {
            let below = tree(&path).into_iter();
            found.extend(below.map(|(path, content)| (Path::new(&name).join(path), content)));
        } else {
            found.insert(name.into(), fs::read(path).unwrap());
        }
    }
    found
}
