# Headers only: the library is opened by name at run time. NCCL_INCLUDE_DIR or CMAKE_PREFIX_PATH may say where.
find_path(NCCL_INCLUDE_DIR nccl.h PATHS /usr/local/cuda/include)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NCCL REQUIRED_VARS NCCL_INCLUDE_DIR)
mark_as_advanced(NCCL_INCLUDE_DIR)
