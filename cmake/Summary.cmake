message(STATUS "shardwright ${PROJECT_VERSION}: MPI ${HAVE_MPI}")
