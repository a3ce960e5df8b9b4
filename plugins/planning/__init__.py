"""Memory, time and cost of training: predicted from an architecture, and measured on a command."""
