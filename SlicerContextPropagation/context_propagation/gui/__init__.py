"""Qt: the module widget and its dialogs."""
