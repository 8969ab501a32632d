//! The generated wire types, fenced off: nothing else in the crate is generated.

/// The Container Storage Interface, version 1.13 (`proto/csi/v1/csi.proto`).
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod csi {
    tonic::include_proto!("csi.v1");
}

/// The kubelet's plugin registration API (`proto/pluginregistration/v1/api.proto`).
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod registration {
    tonic::include_proto!("pluginregistration");
}

/// Berth's own service for a person's commands (`proto/admin/v1/admin.proto`).
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod admin {
    tonic::include_proto!("berth.admin.v1");
}
