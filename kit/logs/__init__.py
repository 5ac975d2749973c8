"""Mail logs: source → envelope → parse → join → AuthLog."""
