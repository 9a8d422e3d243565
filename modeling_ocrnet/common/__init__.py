"""What every room uses: errors, files, packages of extras, private parts of libraries, what a process sets once."""
