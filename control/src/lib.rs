//! The control plane: nodes, advertisement, steering, API.
