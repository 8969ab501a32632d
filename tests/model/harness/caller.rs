//! Steps taken for real: requests as the model's steps mean them, and answers as the model tells them.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth::proto::csi;
use csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi::volume_content_source::{Type, VolumeSource};
use tonic::{Code, Status};

use super::step::{Access, Answer, CLAIMS, CLASSES, Creation, FLAGS, Flaw, NAMES, Site, Step, Which, owner};
use crate::common::Clients;
use crate::common::requests::{self, MIB};

/// Longer than any call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes steps over the agent's socket and in the pool. Several can do it at once.
#[derive(Clone)]
pub struct Caller {
    pub clients: Clients,
    pub home: PathBuf,
    /// The UUID of the pool.
    pub pool: String,
}

/// Where a site is, on a node at `home`.
pub fn path(home: &Path, site: Site) -> PathBuf {
    let pods = home.join("kubelet/pods");
    let of_pod = |pod: &str| pods.join(pod).join("volumes/kubernetes.io~csi/berth/mount");
    match site {
        Site::Staging(at) => home.join(format!(
            "kubelet/plugins/kubernetes.io/csi/csi.berth.dev/{at}/globalmount"
        )),
        Site::Target(at) => of_pod(&at.to_string()),
        Site::File => of_pod("file"),
        Site::Link => of_pod("link"),
        Site::Full => of_pod("full"),
        Site::Parentless => of_pod("none"),
        Site::Outside => home.join("outside"),
        Site::Empty => PathBuf::new(),
    }
}

impl Caller {
    /// Takes a step and returns what the agent answered.
    pub async fn perform(&self, step: &Step) -> Answer {
        let (caller, step) = (self.clone(), step.clone());
        let called = tokio::spawn(async move { tokio::time::timeout(PATIENCE, caller.call(&step)).await });
        match called.await {
            Ok(Ok(Ok(answer))) => answer,
            // Only what the connection itself caused has a source.
            Ok(Ok(Err(status))) if status.source().is_some() => Answer::Lost,
            Ok(Ok(Err(status))) => Answer::Refused(status.code()),
            Ok(Err(_)) => Answer::Nonsense("the call hangs".to_owned()),
            Err(panic) => Answer::Nonsense(format!("{panic}")),
        }
    }

    async fn call(&self, step: &Step) -> Result<Answer, Status> {
        let clients = &self.clients;
        match step {
            Step::Create(creation) => {
                let answer = clients
                    .controller
                    .clone()
                    .create_volume(self.creation(creation))
                    .await?;
                let (id, size) = self.described(answer.into_inner().volume);
                return Ok(Answer::Made { id, size });
            }
            Step::Delete(which) => clients.delete(&which.id()).await?,
            Step::Undelete(which) => {
                let path = clients.undelete(&which.id()).await?;
                assert_eq!(path, self.home.join("pool/volumes").join(which.id()));
            }
            Step::Get(which) => return self.get(*which).await,
            Step::List(most) => return self.list(*most).await,
            Step::BadToken => drop(self.page(0, "none of Berth's").await?),
            Step::Capacity { here } => return self.capacity(*here).await,
            Step::Validate { id, accesses, class } => return self.validate(*id, accesses, *class).await,
            Step::Stage { id, staging, access } => {
                let mut request = requests::stage(&id.id(), &self.path(*staging));
                request.volume_capability = Some(capability(*access));
                clients.node.clone().node_stage_volume(request).await?;
            }
            Step::Publish {
                id,
                staging,
                target,
                access,
                read_only,
            } => {
                let mut request = requests::publish(&id.id(), &self.path(*staging), &self.path(*target));
                request.volume_capability = Some(capability(*access));
                request.readonly = *read_only;
                clients.publish_from(request).await?;
            }
            Step::Unpublish { id, target } => clients.unpublish(&id.id(), &self.path(*target)).await?,
            Step::Unstage { id, staging } => clients.unstage(&id.id(), &self.path(*staging)).await?,
            Step::Stats { id, path } => {
                let usage = clients.stats(&id.id(), &self.path(*path)).await?;
                assert!(usage.len() == 2 && usage[0].total > 0, "{usage:?}");
            }
            Step::Write { id, content } => self.write(*id, *content),
            Step::Obstruct(id) => self.obstruct(*id),
        }
        Ok(Answer::Done)
    }

    fn path(&self, site: Site) -> PathBuf {
        path(&self.home, site)
    }

    fn creation(&self, creation: &Creation) -> csi::CreateVolumeRequest {
        let mut parameters = class(creation.class);
        if let Some(claim) = creation.claim {
            let (namespace, name) = CLAIMS[claim].split_once('/').expect("two names");
            parameters.insert("csi.storage.k8s.io/pvc/namespace".to_owned(), namespace.to_owned());
            parameters.insert("csi.storage.k8s.io/pvc/name".to_owned(), name.to_owned());
        }
        let mut request = csi::CreateVolumeRequest {
            name: NAMES[creation.name].to_owned(),
            capacity_range: Some(csi::CapacityRange {
                required_bytes: creation.required as i64 * MIB,
                limit_bytes: creation.limit as i64 * MIB,
            }),
            volume_capabilities: creation.accesses.iter().copied().map(capability).collect(),
            parameters,
            ..csi::CreateVolumeRequest::default()
        };
        if let Some(flaw) = creation.flaw {
            spoil(&mut request, flaw);
        }
        request
    }

    async fn get(&self, which: Which) -> Result<Answer, Status> {
        let request = csi::ControllerGetVolumeRequest { volume_id: which.id() };
        let answer = self.clients.controller.clone().controller_get_volume(request).await?;
        let answer = answer.into_inner();
        let published = answer.status.expect("a status").published_node_ids;
        assert!(published.is_empty() || published == ["test-node"], "{published:?}");
        let (id, size) = self.described(answer.volume);
        Ok(Answer::Volume {
            id,
            size,
            published: !published.is_empty(),
        })
    }

    async fn list(&self, most: u8) -> Result<Answer, Status> {
        let (mut volumes, mut token) = (Vec::new(), String::new());
        loop {
            let page = self.page(most.into(), &token).await?;
            assert!(most == 0 || page.entries.len() <= most.into(), "{page:?}");
            volumes.extend(page.entries.into_iter().map(|entry| self.described(entry.volume)));
            if page.next_token.is_empty() {
                return Ok(Answer::Volumes(volumes));
            }
            assert_ne!(page.next_token, token, "the same page for ever");
            token = page.next_token;
        }
    }

    async fn page(&self, max_entries: i32, token: &str) -> Result<csi::ListVolumesResponse, Status> {
        let request = csi::ListVolumesRequest {
            max_entries,
            starting_token: token.to_owned(),
        };
        let answer = self.clients.controller.clone().list_volumes(request).await?;
        Ok(answer.into_inner())
    }

    async fn capacity(&self, here: bool) -> Result<Answer, Status> {
        let zone = [("zone".to_owned(), "elsewhere".to_owned())];
        let elsewhere = csi::Topology {
            segments: HashMap::from(zone),
        };
        let request = csi::GetCapacityRequest {
            accessible_topology: (!here).then_some(elsewhere),
            ..csi::GetCapacityRequest::default()
        };
        let answer = self.clients.controller.clone().get_capacity(request).await?;
        Ok(Answer::Capacity(mib(answer.into_inner().available_capacity)))
    }

    async fn validate(&self, which: Which, accesses: &[Access], given: Option<usize>) -> Result<Answer, Status> {
        let request = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: which.id(),
            volume_capabilities: accesses.iter().copied().map(capability).collect(),
            parameters: given.map(class).unwrap_or_default(),
            ..csi::ValidateVolumeCapabilitiesRequest::default()
        };
        let asked = request.volume_capabilities.clone();
        let mut controller = self.clients.controller.clone();
        let answer = controller.validate_volume_capabilities(request).await?.into_inner();
        assert_eq!(answer.confirmed.is_some(), answer.message.is_empty());
        Ok(Answer::Confirmed(answer.confirmed.is_some_and(|confirmed| {
            assert_eq!(confirmed.volume_capabilities, asked);
            true
        })))
    }

    /// A volume's ID and its size; where it can be used must be where the pool is.
    fn described(&self, volume: Option<csi::Volume>) -> (String, u64) {
        let volume = volume.expect("a volume");
        let segments = [("topology.berth.dev/pool".to_owned(), self.pool.clone())];
        let here = csi::Topology {
            segments: HashMap::from(segments),
        };
        assert_eq!(volume.accessible_topology, [here], "{volume:?}");
        (volume.volume_id, mib(volume.capacity_bytes))
    }

    fn write(&self, which: Which, content: u32) {
        if let Some(volume) = self.volume(which) {
            std::fs::write(volume.join("data"), content.to_string()).expect("the volume takes data");
        }
    }

    fn obstruct(&self, which: Which) {
        let Some(busy) = self.volume(which).map(|volume| volume.join("busy")) else {
            return;
        };
        if std::fs::create_dir(&busy).is_ok() {
            let flags = nix::mount::MsFlags::empty();
            nix::mount::mount(Some("tmpfs"), &busy, Some("tmpfs"), flags, None::<&str>).expect("a mount");
        }
    }

    /// The directory of a volume, if there is one.
    fn volume(&self, which: Which) -> Option<PathBuf> {
        let path = self.home.join("pool/volumes").join(which.id());
        (matches!(which, Which::Of { .. }) && path.is_dir()).then_some(path)
    }
}

fn capability(access: Access) -> csi::VolumeCapability {
    let mount = MountVolume {
        mount_flags: FLAGS[access.flags].0.iter().map(ToString::to_string).collect(),
        ..MountVolume::default()
    };
    csi::VolumeCapability {
        access_mode: Some(AccessMode {
            mode: access.mode.into(),
        }),
        access_type: Some(match access.block {
            true => AccessType::Block(BlockVolume {}),
            false => AccessType::Mount(mount),
        }),
    }
}

fn class(at: usize) -> HashMap<String, String> {
    let class = &CLASSES[at];
    let pairs = class
        .parameters
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    let (user, group) = owner();
    let owner = [("berth.dev/uid", user), ("berth.dev/gid", group)];
    let owner = owner.into_iter().map(|(key, id)| (key.to_owned(), id.to_string()));
    pairs.chain(owner.filter(|_| class.meaning.owned)).collect()
}

fn spoil(request: &mut csi::CreateVolumeRequest, flaw: Flaw) {
    let mut set = |key: &str, value: &str| drop(request.parameters.insert(key.to_owned(), value.to_owned()));
    match flaw {
        Flaw::NoName => request.name.clear(),
        Flaw::LongName => request.name = "ü".repeat(129),
        Flaw::ControlCharacter => request.name.push('\u{7}'),
        Flaw::NegativeSize => request.capacity_range.get_or_insert_default().required_bytes = -1,
        Flaw::UnknownParameter => set("berth.dev/colour", "blue"),
        Flaw::BadMode => set("berth.dev/mode", "4755"),
        Flaw::BadClaim => {
            set("csi.storage.k8s.io/pvc/namespace", "..");
            set("csi.storage.k8s.io/pvc/name", "a/b");
        }
        Flaw::Source => {
            let source = VolumeSource {
                volume_id: NAMES[0].to_owned(),
            };
            request.volume_content_source = Some(csi::VolumeContentSource {
                r#type: Some(Type::Volume(source)),
            });
        }
        Flaw::OtherFilesystem => {
            for capability in &mut request.volume_capabilities {
                if let Some(AccessType::Mount(mount)) = &mut capability.access_type {
                    mount.fs_type = "ntfs".to_owned();
                }
            }
        }
        Flaw::Elsewhere => {
            let zone = [("topology.berth.dev/node".to_owned(), "another-node".to_owned())];
            request.accessibility_requirements = Some(csi::TopologyRequirement {
                requisite: vec![csi::Topology {
                    segments: HashMap::from(zone),
                }],
                preferred: vec![],
            });
        }
    }
}

fn mib(bytes: i64) -> u64 {
    assert!(bytes >= 0 && bytes % MIB == 0, "{bytes} bytes");
    (bytes / MIB) as u64
}

/// Whether a code tells that something of the node is in the way, and nothing else.
pub fn tells_of_trouble(code: Code) -> bool {
    matches!(
        code,
        Code::Internal | Code::ResourceExhausted | Code::FailedPrecondition
    )
}
