"""What is measured: one public function and one result record a file."""
