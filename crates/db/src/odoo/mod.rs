//! postgres2: connections to the servers that hold customers' databases.
