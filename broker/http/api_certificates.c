// Certificates of AMQP over TLS and of HTTPS, and whether one of them ends soon.
#include <inttypes.h>
#include <time.h>

#include "http/api.h"

static slc_http_status status_of(slc_api *api)
{
    slc_http_status status = {0};
    api->options->status(&status, api->options->arg);
    return status;
}

static void certificate_put(slc_json *w, const slc_http_certificate *c)
{
    slc_json_open(w, '{');
    slc_json_put_text(w, "key", c->key);
    slc_json_put_text(w, "file", c->file);
    slc_json_put_text(w, "subject", c->subject);
    slc_json_put_text(w, "issuer", c->issuer);
    slc_json_put_text(w, "serial", c->serial);
    slc_json_put_u64(w, "not_before", (uint64_t)(c->not_before > 0 ? c->not_before : 0));
    slc_json_put_u64(w, "not_after", (uint64_t)(c->not_after > 0 ? c->not_after : 0));
    slc_json_close(w, '}');
}

void slc_api_certificates(slc_http_request *request)
{
    slc_api api = slc_api_begin(request);
    slc_http_status status = status_of(&api);
    slc_json_open(&api.w, '[');
    for (uint32_t i = 0; i < status.certificate_count; i++)
        certificate_put(&api.w, &status.certificates[i]);
    slc_json_close(&api.w, ']');
    slc_api_end(&api);
}

static bool within_parse(slc_slice number, slc_slice unit, int64_t *seconds)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {
        {"days", 86400}, {"weeks", 7 * 86400}, {"months", 30 * 86400}, {"years", 365 * 86400}};
    int64_t count = 0;
    if (number.bytes == 0 || number.bytes > 6)
        return false;
    for (size_t i = 0; i < number.bytes; i++) {
        if (number.data[i] < '0' || number.data[i] > '9')
            return false;
        count = count * 10 + (number.data[i] - '0');
    }
    for (size_t i = 0; i < SLC_ARRAY_COUNT(units); i++) {
        if (slc_slice_is(unit, units[i].name)) {
            *seconds = count * units[i].seconds;
            return count > 0;
        }
    }
    return false;
}

void slc_api_health_certificates(slc_http_request *request)
{
    int64_t seconds;
    if (!within_parse(request->vars[0], request->vars[1], &seconds)) {
        slc_http_fail(request, 400, "bad_request",
                      "Time unit not recognised. Supported units: days, weeks, months, years; "
                      "before it a number above 0.");
        slc_http_answer(request);
        return;
    }
    slc_api api = slc_api_begin(request);
    slc_http_status status = status_of(&api);
    int64_t limit = (int64_t)time(NULL) + seconds;
    bool bad = false;
    for (uint32_t i = 0; i < status.certificate_count; i++)
        bad |= status.certificates[i].not_after < limit;
    slc_json_open(&api.w, '{');
    slc_json_put_text(&api.w, "status", bad ? "failed" : "ok");
    if (bad) {
        slc_buffer reason = {0};
        slc_buffer_text(&reason, "Certificates expiring:");
        for (uint32_t i = 0; i < status.certificate_count; i++)
            if (status.certificates[i].not_after < limit)
                slc_buffer_format(&reason, " '%s' in %s;", status.certificates[i].subject,
                                  status.certificates[i].file);
        slc_json_put_slice(&api.w, "reason",
                           slc_slice_of(reason.data, reason.bytes - 1)); // without the last ;
        slc_buffer_fini(&reason);
        slc_json_key(&api.w, "expired");
        slc_json_open(&api.w, '[');
        for (uint32_t i = 0; i < status.certificate_count; i++)
            if (status.certificates[i].not_after < limit)
                certificate_put(&api.w, &status.certificates[i]);
        slc_json_close(&api.w, ']');
    }
    slc_json_close(&api.w, '}');
    request->status = bad ? 503 : 200;
    slc_api_end(&api);
}
