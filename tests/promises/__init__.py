"""The promises of the engine, each as a property: see `docs/promises.md`."""
