/** Errors: one table of codes for the whole of Sluice, and a sentence for the cold paths.
 *
 *  A function that can fail returns slc_err. Cold paths (open, declare, configure) also fill a slc_error: the code
 *  plus a sentence that names object, value and rule. Codes of libuv, LMDB and errno are translated where they enter.
 *  Thread: any. Memory: slc_error lives in the caller's storage and needs no fini.
 */
#ifndef SLC_BASE_ERROR_H
#define SLC_BASE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#define SLC_MUST_USE         __attribute__((warn_unused_result))
#define SLC_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))

/** name, sentence used when nothing more exact is known */
#define SLC_ERR_TABLE(X)                                                                           \
    X(SLC_OK, "ok")                                                                                \
    X(SLC_EINVAL, "invalid value")                                                                 \
    X(SLC_ENOMEM, "not enough memory")                                                             \
    X(SLC_ENOTFOUND, "not found")                                                                  \
    X(SLC_EEXIST, "already exists")                                                                \
    X(SLC_EACCESS, "access refused")                                                               \
    X(SLC_ELOCKED, "locked by another connection")                                                 \
    X(SLC_EPRECONDITION, "precondition failed")                                                    \
    X(SLC_ENOTALLOWED, "not allowed")                                                              \
    X(SLC_ENOTIMPL, "not implemented")                                                             \
    X(SLC_ELIMIT, "limit reached")                                                                 \
    X(SLC_ESYNTAX, "syntax error")                                                                 \
    X(SLC_EFRAME, "malformed frame")                                                               \
    X(SLC_ETRUNCATED, "more input needed")                                                         \
    X(SLC_EUNEXPECTED, "out of sequence")                                                          \
    X(SLC_ECOMMAND, "invalid command")                                                             \
    X(SLC_ECHANNEL, "wrong channel state")                                                         \
    X(SLC_EAGAIN, "not now, try again")                                                            \
    X(SLC_EPENDING, "accepted, the answer comes later")                                            \
    X(SLC_ECLOSED, "closed")                                                                       \
    X(SLC_EIO, "input/output error")                                                               \
    X(SLC_ENOSPC, "no space left")                                                                 \
    X(SLC_ECORRUPT, "stored data is damaged")                                                      \
    X(SLC_EVERSION, "unknown version")                                                             \
    X(SLC_EBUSY, "in use")                                                                         \
    X(SLC_ETIMEDOUT, "timed out")                                                                  \
    X(SLC_EADDRINUSE, "address in use")                                                            \
    X(SLC_EINTERNAL, "internal error")

typedef enum slc_err {
#define SLC_ERR_ENUM(name, text) name,
    SLC_ERR_TABLE(SLC_ERR_ENUM)
#undef SLC_ERR_ENUM
        SLC_ERR_COUNT
} slc_err;

enum { SLC_ERROR_TEXT_BYTES = 512 };

/** A code and a sentence. Start with `slc_error error = {0};`. A NULL slc_error* is accepted everywhere. */
typedef struct slc_error {
    slc_err code;
    char text[SLC_ERROR_TEXT_BYTES]; // always terminated, cut at the end when too long
} slc_error;

/** "SLC_ENOTFOUND" */
const char *slc_err_name(slc_err code);
/** "not found" */
const char *slc_err_text(slc_err code);

/** Fill error (when not NULL) and return code, so that `return slc_error_set(error, SLC_EINVAL, "...")` works. */
slc_err slc_error_set(slc_error *error, slc_err code, const char *format, ...) SLC_PRINTF(3, 4);

/** Put "context: " before the sentence that is there; the code stays. */
void slc_error_wrap(slc_error *error, const char *format, ...) SLC_PRINTF(2, 3);

/** The code for an errno value (positive) or a libuv code (negative errno); SLC_EIO when none fits. */
slc_err slc_err_from_errno(int errno_value);

#endif
