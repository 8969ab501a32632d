//! What the reader takes out of a manifest, and what it says about a wrong one.

use anyhow::{Context, Result};

use super::{AccessMode, parse};

const TWO_TEMPLATES: &str = r#"
apiVersion: v1
kind: Service
metadata:
  name: db
spec:
  clusterIP: None
---
# An empty document, as left over by templating.
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: db
  namespace: shop
spec:
  serviceName: db
  replicas: 3
  template:
    spec:
      volumes:
        - name: config
          configMap: {name: db}
      containers:
        - name: db
          image: db:1
          volumeMounts:
            - {name: data, mountPath: /var/lib/db}
            - {name: config, mountPath: /etc/db}
        - name: backup
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: logs, mountPath: /logs}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: ["ReadWriteOnce"]
        storageClassName: manual
        resources:
          requests:
            storage: 1.5Gi
    - metadata:
        name: logs
      spec:
        accessModes: [ReadWriteOncePod]
        resources:
          requests:
            storage: 1048576
"#;

#[test]
fn a_stateful_set_is_found_among_other_documents() -> Result<()> {
    let sets = parse("db.yaml", TWO_TEMPLATES)?;
    let [set] = sets.as_slice() else {
        anyhow::bail!("expected one set: {sets:?}");
    };
    assert_eq!((set.namespace.as_str(), set.name.as_str()), ("shop", "db"));
    assert_eq!(set.replicas, 3);
    let [data, logs] = set.templates.as_slice() else {
        anyhow::bail!("expected two templates: {set:?}");
    };
    assert_eq!((data.name.as_str(), data.size.as_str()), ("data", "1.5Gi"));
    assert_eq!(data.bytes, 1_610_612_736);
    assert_eq!(data.class.as_deref(), Some("manual"));
    assert_eq!(data.access_modes, [AccessMode::ReadWriteOnce]);
    assert_eq!(data.mount_paths, ["/var/lib/db", "/data"]);
    assert_eq!(logs.bytes, 1 << 20);
    assert_eq!(logs.class, None);
    assert_eq!(logs.access_modes, [AccessMode::ReadWriteOncePod]);
    Ok(())
}

#[test]
fn a_list_as_kubectl_prints_it_is_read() -> Result<()> {
    let indented = TWO_TEMPLATES
        .split("---")
        .last()
        .context("no document")?
        .replace('\n', "\n    ");
    let list = format!("apiVersion: v1\nkind: List\nitems:\n  -\n{indented}\n");
    assert_eq!(parse("list.yaml", &list)?, parse("db.yaml", TWO_TEMPLATES)?);
    Ok(())
}

#[test]
fn replicas_and_namespace_have_kubernetes_defaults() -> Result<()> {
    let yaml = TWO_TEMPLATES
        .replace("  replicas: 3\n", "")
        .replace("  namespace: shop\n", "");
    let sets = parse("db.yaml", &yaml)?;
    let set = sets.first().context("no set")?;
    assert_eq!((set.namespace.as_str(), set.replicas), ("default", 1));
    Ok(())
}

/// What is in the manifest, what is put there instead, and the complaint about it.
const WRONG: [(&str, &str, &str); 16] = [
    ("1.5Gi", "1.5GB", "CLAIM.resources.requests.storage: \"1.5GB\" isn't"),
    ("1.5Gi", "0", "CLAIM.resources.requests.storage: \"0\" isn't greater"),
    ("1.5Gi", "[]", "CLAIM.resources.requests.storage has to be a text"),
    ("[\"ReadWriteOnce\"]", "[RWO]", "CLAIM.accessModes[0] is \"RWO\""),
    (
        "[\"ReadWriteOnce\"]",
        "ReadWriteOnce",
        "CLAIM.accessModes has to be a list",
    ),
    ("[\"ReadWriteOnce\"]", "[]", "CLAIM has no accessModes"),
    (
        "storageClassName: manual",
        "storageClassName: ''",
        "CLAIM.storageClassName is empty",
    ),
    (
        "storageClassName: manual",
        "volumeMode: Block",
        "CLAIM.volumeMode has to be Filesystem",
    ),
    (
        "replicas: 3",
        "replicas: three",
        "spec.replicas has to be a whole number",
    ),
    ("replicas: 3", "replicas: -1", "spec.replicas has to be a whole number"),
    ("replicas: 3", "replicas: 0", "spec has 0 replicas"),
    ("  name: db\n  namespace", "  namespace", "metadata has no name"),
    (
        "  name: db\n  namespace",
        "  name: ../db\n  namespace",
        "metadata.name is \"../db\"",
    ),
    (
        "volumeClaimTemplates",
        "volumeClaims",
        "spec has no volumeClaimTemplates",
    ),
    ("{name: logs, ", "{name: log, ", "spec mounts \"log\" at /logs"),
    (
        "kind: StatefulSet",
        "kind: Deployment",
        "no document of kind StatefulSet",
    ),
];

#[test]
fn a_complaint_names_the_file_and_the_field() {
    for (right, wrong, complaint) in WRONG {
        let yaml = TWO_TEMPLATES.replacen(right, wrong, 1);
        assert_ne!(yaml, TWO_TEMPLATES, "{right} isn't in the manifest");
        let complaint = complaint.replace("CLAIM", "spec.volumeClaimTemplates[0].spec");
        match parse("db.yaml", &yaml) {
            Ok(sets) => panic!("{wrong} was taken: {sets:?}"),
            Err(error) => assert_starts(&format!("{error:#}"), &format!("db.yaml: {complaint}")),
        }
    }
}

#[test]
fn broken_yaml_is_reported_with_its_line() {
    let Err(error) = parse("db.yaml", "kind: StatefulSet\nspec:\n  a: [1, 2\n  b: 3\n") else {
        panic!("broken YAML was taken");
    };
    let text = format!("{error:#}");
    assert!(text.contains("db.yaml isn't valid YAML"), "{text}");
    assert!(text.contains("line"), "{text}");
}

#[test]
fn the_built_in_manifest_has_a_stateful_set() -> Result<()> {
    parse("built-in", crate::demo::DEFAULT_MANIFEST).map(drop)
}

fn assert_starts(text: &str, start: &str) {
    assert!(text.starts_with(start), "{text}\nshould start with\n{start}");
}
