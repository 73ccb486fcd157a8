"""The LLVM backend: prints «loop» programs as LLVM IR, runs them in this process, or writes objects for any target."""
