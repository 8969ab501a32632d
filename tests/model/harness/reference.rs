//! The reference: what each call answers, and what is on the disk and in the mount table then. Plain
//! data and nothing else; written from the specification and the documents, not from the code.

mod happenings;

use std::collections::{BTreeMap, BTreeSet};

use tonic::Code;

use super::step::{Access, Answer, CLAIMS, CLASSES, Creation, Flaw, Meaning, Mode, Site, Step, Which, id_of};

/// All that there is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Model {
    /// MiB that may be promised in all.
    capacity: u64,
    /// MiB promised at the moment to volumes that are still being made by other calls.
    pub elsewhere: u64,
    volumes: BTreeMap<String, Volume>,
    /// Claims, and the volumes that their links lead to.
    links: BTreeMap<&'static str, String>,
    sites: BTreeMap<Site, Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Volume {
    name: usize,
    size: u64,
    uses: BTreeSet<(Mode, BTreeSet<&'static str>)>,
    meaning: Meaning,
    claim: Option<&'static str>,
    content: Option<u32>,
    /// Seconds since 1970; 0 until it was looked up.
    made: u64,
    deletion: Option<Deletion>,
    /// Its record cannot be read.
    quarantined: bool,
    /// Something is mounted in it.
    obstructed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Deletion {
    Kept,
    Purging,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    Nothing,
    Directory,
    Full,
    Foreign,
    Parentless,
    Mount {
        id: String,
        options: BTreeSet<&'static str>,
    },
}

type Outcome = Result<Answer, Code>;

impl Model {
    /// A node with an empty pool, and with what the kubelet and others have made beneath its directory.
    pub fn new(capacity: u64) -> Self {
        let place = |site| match site {
            Site::Staging(_) => Place::Directory,
            Site::Target(_) => Place::Nothing,
            Site::Full => Place::Full,
            Site::Parentless => Place::Parentless,
            _ => Place::Foreign,
        };
        Self {
            capacity,
            elsewhere: 0,
            volumes: BTreeMap::new(),
            links: BTreeMap::new(),
            sites: Site::REAL.into_iter().map(|site| (site, place(site))).collect(),
        }
    }

    /// Takes a step and tells what it answers.
    pub fn take(&mut self, step: &Step) -> Answer {
        let outcome = match step {
            Step::Create(creation) => self.create(creation),
            Step::Delete(which) => self.delete(*which),
            Step::Undelete(which) => self.undelete(*which),
            Step::Get(which) => self.get(*which),
            Step::List(_) => Ok(Answer::Volumes(self.list())),
            Step::BadToken => Err(Code::Aborted),
            Step::Capacity { here } => Ok(Answer::Capacity(if *here { self.available() } else { 0 })),
            Step::Validate { id, accesses, class } => self.validate(*id, accesses, *class),
            Step::Stage { id, staging, access } => self.stage(*id, *staging, *access),
            Step::Publish {
                id,
                staging,
                target,
                access,
                read_only,
            } => self.publish(*id, [*staging, *target], *access, *read_only),
            Step::Unpublish { id, target } => self.take_off(*id, *target, true),
            Step::Unstage { id, staging } => self.take_off(*id, *staging, false),
            Step::Stats { id, path } => self.stats(*id, *path),
            Step::Write { id, content } => Ok(self.change(*id, |volume| volume.content = Some(*content))),
            Step::Obstruct(id) => Ok(self.change(*id, |volume| volume.obstructed = true)),
        };
        outcome.unwrap_or_else(Answer::Refused)
    }

    fn create(&mut self, creation: &Creation) -> Outcome {
        match creation.flaw {
            Some(Flaw::Elsewhere) => {}
            Some(_) => return Err(Code::InvalidArgument),
            None => {}
        }
        if creation.accesses.is_empty() || !creation.accesses.iter().all(|access| access.is_served()) {
            return Err(Code::InvalidArgument);
        }
        if creation.limit > 0 && creation.required > creation.limit {
            return Err(Code::OutOfRange);
        }
        if creation.flaw == Some(Flaw::Elsewhere) {
            return Err(Code::ResourceExhausted);
        }
        let uses: BTreeSet<_> = creation.accesses.iter().map(|access| access.key()).collect();
        let meaning = CLASSES[creation.class].meaning;
        if let Some((id, volume)) = self.named(creation.name) {
            let fits = volume.size >= creation.required && (creation.limit == 0 || volume.size <= creation.limit);
            let same = fits && volume.uses == uses && volume.meaning == meaning;
            let (id, size) = (id.clone(), volume.size);
            return if same {
                Ok(Answer::Made { id, size })
            } else {
                Err(Code::AlreadyExists)
            };
        }
        // Whose name a damaged record holds is not known.
        if self
            .volumes
            .values()
            .any(|volume| volume.quarantined && volume.name == creation.name)
        {
            return Err(Code::FailedPrecondition);
        }
        let size = creation.size();
        if size > self.available() {
            return Err(Code::ResourceExhausted);
        }
        let mut ids = (0..).map(|attempt| id_of(creation.name, attempt));
        let id = ids
            .find(|id| !self.volumes.contains_key(id))
            .expect("an ID that no volume has");
        let claim = creation.claim.map(|at| CLAIMS[at]);
        if let Some(claim) = claim {
            self.links.insert(claim, id.clone());
        }
        let volume = Volume {
            name: creation.name,
            size,
            uses,
            meaning,
            claim,
            content: None,
            made: 0,
            deletion: None,
            quarantined: false,
            obstructed: false,
        };
        self.volumes.insert(id.clone(), volume);
        Ok(Answer::Made { id, size })
    }

    fn delete(&mut self, which: Which) -> Outcome {
        if which == Which::Empty {
            return Err(Code::InvalidArgument);
        }
        let id = which.id();
        let mounted = self.is_mounted(&id);
        let Some(volume) = self.volumes.get_mut(&id) else {
            return Ok(Answer::Done);
        };
        if volume.quarantined {
            return Err(Code::FailedPrecondition);
        }
        if volume.deletion.is_some() {
            return Ok(Answer::Done);
        }
        if mounted {
            return Err(Code::FailedPrecondition);
        }
        volume.deletion = Some(if volume.meaning.kept {
            Deletion::Kept
        } else {
            Deletion::Purging
        });
        self.unlink(&id);
        Ok(Answer::Done)
    }

    fn undelete(&mut self, which: Which) -> Outcome {
        let id = which.id();
        let volume = self.volumes.get(&id).ok_or(Code::NotFound)?;
        if volume.quarantined || volume.deletion != Some(Deletion::Kept) {
            return Err(Code::FailedPrecondition);
        }
        if self.named(volume.name).is_some() {
            return Err(Code::AlreadyExists);
        }
        if volume.size > self.available() {
            return Err(Code::ResourceExhausted);
        }
        let claim = volume.claim;
        self.volumes.get_mut(&id).expect("it is there").deletion = None;
        if let Some(claim) = claim {
            self.links.insert(claim, id.clone());
        }
        Ok(Answer::Done)
    }

    fn get(&self, which: Which) -> Outcome {
        let id = required(which)?;
        let size = self.find(&id)?.size;
        let published = self.is_mounted(&id);
        Ok(Answer::Volume { id, size, published })
    }

    fn list(&self) -> Vec<(String, u64)> {
        let listed = self.volumes.iter().filter(|(_, volume)| volume.is_served());
        listed.map(|(id, volume)| (id.clone(), volume.size)).collect()
    }

    fn validate(&self, which: Which, accesses: &[Access], class: Option<usize>) -> Outcome {
        let id = required(which)?;
        if accesses.is_empty() {
            return Err(Code::InvalidArgument);
        }
        let volume = self.find(&id)?;
        let served = accesses.iter().all(|access| access.is_served());
        // A class without parameters says nothing that could differ.
        let class = class
            .map(|at| &CLASSES[at])
            .filter(|class| !class.parameters.is_empty());
        Ok(Answer::Confirmed(
            served && class.is_none_or(|class| class.meaning == volume.meaning),
        ))
    }

    fn stage(&mut self, which: Which, staging: Site, access: Access) -> Outcome {
        let id = required(which)?;
        path(staging)?;
        if !access.is_served() {
            return Err(Code::InvalidArgument);
        }
        self.find(&id)?;
        // Read-only is a matter of each publish.
        let mut options = access.options();
        options.remove("ro");
        self.mount(id, staging, options)
    }

    fn publish(&mut self, which: Which, [staging, target]: [Site; 2], access: Access, read_only: bool) -> Outcome {
        let id = required(which)?;
        path(target)?;
        if !access.is_served() {
            return Err(Code::InvalidArgument);
        }
        if staging == Site::Empty {
            return Err(Code::FailedPrecondition);
        }
        path(staging)?;
        let volume = self.find(&id)?;
        if !matches!(self.place(staging), Place::Mount { id: staged, .. } if *staged == id) {
            return Err(Code::FailedPrecondition);
        }
        let single = |mode: Mode| mode == Mode::SingleNodeSingleWriter;
        if single(access.mode) || volume.uses.iter().all(|(mode, _)| single(*mode)) {
            let mut others = self.sites.iter().filter(|(site, _)| ![staging, target].contains(site));
            if others.any(|(_, place)| matches!(place, Place::Mount { id: other, .. } if *other == id)) {
                return Err(Code::FailedPrecondition);
            }
        }
        let mut options = access.options();
        if read_only || access.mode == Mode::SingleNodeReaderOnly {
            options.insert("ro");
        }
        self.mount(id, target, options)
    }

    /// One mount at a path, or the one that is there if it is the same.
    fn mount(&mut self, id: String, site: Site, options: BTreeSet<&'static str>) -> Outcome {
        let wanted = Place::Mount { id, options };
        match self.place(site) {
            Place::Nothing | Place::Directory => {
                self.sites.insert(site, wanted);
                Ok(Answer::Done)
            }
            Place::Mount { .. } if *self.place(site) == wanted => Ok(Answer::Done),
            Place::Mount { .. } => Err(Code::AlreadyExists),
            Place::Full | Place::Foreign | Place::Parentless => Err(Code::FailedPrecondition),
        }
    }

    /// Unmounts; a target goes, a staging directory is the kubelet's. What is not known need not be.
    fn take_off(&mut self, which: Which, site: Site, removes: bool) -> Outcome {
        let id = required(which)?;
        path(site)?;
        let left = if removes { Place::Nothing } else { Place::Directory };
        match self.place(site) {
            Place::Mount { id: other, .. } if *other != id => return Err(Code::FailedPrecondition),
            Place::Mount { .. } | Place::Directory => {
                self.sites.insert(site, left);
            }
            Place::Full | Place::Foreign if removes => return Err(Code::FailedPrecondition),
            Place::Full | Place::Foreign | Place::Nothing | Place::Parentless => {}
        }
        Ok(Answer::Done)
    }

    fn stats(&self, which: Which, site: Site) -> Outcome {
        let id = required(which)?;
        match site {
            Site::Empty => return Err(Code::InvalidArgument),
            Site::Outside => return Err(Code::NotFound),
            _ => {}
        }
        self.find(&id)?;
        match self.place(site) {
            Place::Mount { id: mounted, .. } if *mounted == id => Ok(Answer::Done),
            _ => Err(Code::NotFound),
        }
    }

    fn change(&mut self, which: Which, change: impl FnOnce(&mut Volume)) -> Answer {
        // Its directory is there whether its record can be read or not.
        let found = self
            .volumes
            .get_mut(&which.id())
            .filter(|volume| volume.deletion.is_none());
        found.map(change);
        Answer::Done
    }

    /// The size of a volume, deleted or not; 0 if there is none.
    pub fn size(&self, which: Which) -> u64 {
        self.volumes.get(&which.id()).map_or(0, |volume| volume.size)
    }

    fn available(&self) -> u64 {
        let served = self.volumes.values().filter(|volume| volume.is_served());
        let promised: u64 = served.map(|volume| volume.size).sum();
        self.capacity.saturating_sub(promised + self.elsewhere)
    }

    fn find(&self, id: &str) -> Result<&Volume, Code> {
        match self.volumes.get(id) {
            Some(volume) if volume.quarantined => Err(Code::FailedPrecondition),
            Some(volume) if volume.deletion.is_none() => Ok(volume),
            _ => Err(Code::NotFound),
        }
    }

    fn named(&self, name: usize) -> Option<(&String, &Volume)> {
        self.volumes
            .iter()
            .find(|(_, volume)| volume.is_served() && volume.name == name)
    }

    fn place(&self, site: Site) -> &Place {
        &self.sites[&site]
    }

    fn is_mounted(&self, id: &str) -> bool {
        let mut places = self.sites.values();
        places.any(|place| matches!(place, Place::Mount { id: mounted, .. } if mounted == id))
    }

    fn unlink(&mut self, id: &str) {
        self.links.retain(|_, linked| linked != id);
    }
}

impl Volume {
    /// Whether calls can do something with it.
    fn is_served(&self) -> bool {
        self.deletion.is_none() && !self.quarantined
    }
}

fn required(which: Which) -> Result<String, Code> {
    match which {
        Which::Empty => Err(Code::InvalidArgument),
        which => Ok(which.id()),
    }
}

fn path(site: Site) -> Result<(), Code> {
    match site {
        Site::Outside | Site::Empty => Err(Code::InvalidArgument),
        _ => Ok(()),
    }
}
