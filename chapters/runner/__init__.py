"""Code that the scripts share: options, data, results, the report and notebooks."""
