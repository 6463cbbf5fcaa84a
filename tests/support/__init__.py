"""What several test files share. Imports the package and the oracles, never a test file."""
