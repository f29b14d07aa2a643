//! sluice-control-plane
