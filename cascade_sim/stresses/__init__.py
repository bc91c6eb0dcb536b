"""The library of stresses: YAML files of named changes, each applied to a scenario as an arm beside the scenario as it is."""
