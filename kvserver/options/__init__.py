"""The options: `table` has every option with its default, `kinds` the values that it may have, `config` the present ones."""
