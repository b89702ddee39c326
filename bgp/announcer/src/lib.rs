//! A BGP router that announces routes, for the demo and for tests; a node never reaches it.
