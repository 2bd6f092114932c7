"""Plans, sends, commits: nobody else moves a task onward."""
