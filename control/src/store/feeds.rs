//! Feeds: what each node has advertised, as a blob per node.
