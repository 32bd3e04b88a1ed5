# What `cmake --install` puts in place: programs, manual pages, completion and the unit of systemd.
include(GNUInstallDirs)

install(TARGETS coffer coffer-bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS cofferd RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})

install(FILES docs/man/coffer.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES docs/man/coffer.conf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES docs/man/cofferd.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md" PATTERN man EXCLUDE)

configure_file(dist/coffer@.service.in ${PROJECT_BINARY_DIR}/coffer@.service @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/coffer@.service DESTINATION ${CMAKE_INSTALL_PREFIX}/lib/systemd/system)

# The command prints its own completion, from the table of its commands.
install(CODE "
  file(MAKE_DIRECTORY \"\$ENV{DESTDIR}${CMAKE_INSTALL_FULL_DATADIR}/bash-completion/completions\")
  execute_process(COMMAND $<TARGET_FILE:coffer> completion bash
    OUTPUT_FILE \"\$ENV{DESTDIR}${CMAKE_INSTALL_FULL_DATADIR}/bash-completion/completions/coffer\"
    COMMAND_ERROR_IS_FATAL ANY)")
