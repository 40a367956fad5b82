"""Where kiln differs from buildkitd on purpose: docs/differences.md says why."""

# {case: {key of its observation: what it is with kiln}}
DIFFERENT = {}
