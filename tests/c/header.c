/* The header alone, in every dialect: compiled, never run. */
#include "keyface.h"

#if !defined(KF_VERSION_MAJOR) || !defined(KF_VERSION_MINOR) || !defined(KF_VERSION_PATCH)
#error "the header says no version"
#endif
#if KF_VERSION_MAJOR * 1000000 + KF_VERSION_MINOR * 1000 + KF_VERSION_PATCH < 1000
#error "the version cannot be compared by the preprocessor"
#endif
#if KF_ABI_VERSION != 0 || KF_MAX_FACES < 1 || KF_MAX_MATCHES < 2 || KF_MAX_NAME < 64
#error "a limit is missing"
#endif

/* Numbers that programs were compiled with. */
typedef char status_is_32_bits[sizeof(kf_status) == 4 ? 1 : -1];
typedef char ok_is_zero[KF_STATUS_OK == 0 && KF_STATUS_INTERNAL == 19 ? 1 : -1];

kf_status use(const kf_engine *engine, kf_engine_info *info);
kf_status use(const kf_engine *engine, kf_engine_info *info) { return kf_engine_get_info(engine, info); }
