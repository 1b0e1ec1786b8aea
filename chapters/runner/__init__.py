"""What the scripts share: options, data, the run folder, the report, notebooks."""
