#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const error_names[SLC_ERR_COUNT] = {
#define SLC_ERR_NAME(name, text) [name] = #name,
    SLC_ERR_TABLE(SLC_ERR_NAME)
#undef SLC_ERR_NAME
};

static const char *const error_texts[SLC_ERR_COUNT] = {
#define SLC_ERR_SENTENCE(name, text) [name] = text,
    SLC_ERR_TABLE(SLC_ERR_SENTENCE)
#undef SLC_ERR_SENTENCE
};

const char *slc_err_name(slc_err code)
{
    return (unsigned)code < SLC_ERR_COUNT ? error_names[code] : "SLC_E?";
}

const char *slc_err_text(slc_err code)
{
    return (unsigned)code < SLC_ERR_COUNT ? error_texts[code] : "unknown error";
}

// Formats into a buffer of its own first: an argument may be error->text itself.
static void error_format(char out[SLC_ERROR_TEXT_BYTES], const char *format, va_list args)
{
    if (vsnprintf(out, SLC_ERROR_TEXT_BYTES, format, args) < 0)
        out[0] = '\0';
}

slc_err slc_error_set(slc_error *error, slc_err code, const char *format, ...)
{
    if (error == NULL)
        return code;
    char text[SLC_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    error_format(text, format, args);
    va_end(args);
    error->code = code;
    memcpy(error->text, text, sizeof text);
    return code;
}

void slc_error_wrap(slc_error *error, const char *format, ...)
{
    if (error == NULL)
        return;
    char context[SLC_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    error_format(context, format, args);
    va_end(args);

    // The sentence that is there knows more than the context, so a long context is cut to half the
    // room.
    const char *sentence = error->text[0] != '\0' ? error->text : slc_err_text(error->code);
    slc_error_set(error, error->code, "%.*s: %s", SLC_ERROR_TEXT_BYTES / 2, context, sentence);
}

slc_err slc_err_from_errno(int errno_value)
{
    switch (errno_value < 0 ? -errno_value : errno_value) {
    case 0:
        return SLC_OK;
    case EINVAL:
    case ENAMETOOLONG:
    case EDOM:
    case ERANGE:
    case ENOTDIR:
    case EISDIR:
        return SLC_EINVAL;
    case ENOMEM:
        return SLC_ENOMEM;
    case ENOENT:
    case ESRCH:
        return SLC_ENOTFOUND;
    case EEXIST:
        return SLC_EEXIST;
    case EACCES:
    case EPERM:
    case EROFS:
        return SLC_EACCESS;
    case ENOSYS:
    case EOPNOTSUPP:
        return SLC_ENOTIMPL;
    case EMFILE:
    case ENFILE:
    case E2BIG:
        return SLC_ELIMIT;
    case EAGAIN:
    case EINTR:
        return SLC_EAGAIN;
    case EINPROGRESS:
        return SLC_EPENDING;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ECONNREFUSED:
    case ECANCELED:
    case ENOTCONN:
    case ESHUTDOWN:
        return SLC_ECLOSED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return SLC_ENOSPC;
    case EBUSY:
    case ETXTBSY:
        return SLC_EBUSY;
    case ETIMEDOUT:
        return SLC_ETIMEDOUT;
    case EADDRINUSE:
        return SLC_EADDRINUSE;
    default:
        return SLC_EIO;
    }
}
