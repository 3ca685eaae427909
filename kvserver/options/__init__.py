"""The options: `table` has every one with its default, `kinds` what their values may be, `config` the values in force."""
