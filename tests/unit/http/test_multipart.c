// Which part of an upload is read.
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/alloc.h"
#include "http/multipart.h"

TestSuite(multipart, .timeout = 60);

#define FORM             "multipart/form-data; boundary=XX"
#define PART(name, text) "Content-Disposition: form-data; " name "\r\n\r\n" text

Test(multipart, the_field_named_file)
{
    static const struct {
        const char *type, *body, *want; // want NULL: nothing
    } cases[] = {
        {NULL, "{}", "{}"},
        {"application/json; charset=utf-8", "{}", "{}"},
        {FORM, "--XX\r\n" PART("name=\"file\"", "{}") "\r\n--XX--\r\n", "{}"},
        {FORM, "--XX\r\n" PART("name=file", "{}") "\r\n--XX--", "{}"},
        {"Multipart/Form-Data; charset=x; boundary=\"XX\"; more",
         "--XX\r\n" PART("filename=\"d.json\"; name=\"file\"", "{\r\n}") "\r\n--XX--", "{\r\n}"},
        {FORM,
         "--XX\r\n" PART("name=\"a\"", "1") "\r\n--XX\r\nX-Other: 1\r\n" PART("name=\"file\"",
                                                                              "2") "\r\n--XX--",
         "2"},
        // A part whose name is something else, and one that only has such a file name.
        {FORM, "--XX\r\n" PART("name=\"files\"", "{}") "\r\n--XX--", NULL},
        {FORM, "--XX\r\n" PART("name=\"a\"; filename=\"file\"", "{}") "\r\n--XX--", NULL},
        // No end, no boundary, another one, no headers, nothing.
        {FORM, "--XX\r\n" PART("name=\"file\"", "{}"), NULL},
        {"multipart/form-data", "--XX\r\n" PART("name=\"file\"", "{}") "\r\n--XX--", NULL},
        {"multipart/form-data; boundary=", "--XX\r\n" PART("name=\"file\"", "{}") "\r\n--XX--",
         NULL},
        {FORM, "--YY\r\n" PART("name=\"file\"", "{}") "\r\n--YY--", NULL},
        {FORM, "--XX\r\nname=\"file\"\r\n--XX\r\n\r\n\r\n--XX--", NULL},
        {FORM, "--XX", NULL},
        {FORM, "--X", NULL},
        {FORM, "", NULL},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(cases); i++) {
        // In memory of its own size, so that a sanitizer sees what is read behind it.
        size_t bytes = strlen(cases[i].body);
        char *body = malloc(bytes + (bytes == 0));
        memcpy(body, cases[i].body, bytes);
        slc_slice got = slc_multipart_file(cases[i].type, slc_slice_of(body, bytes));
        const char *want = cases[i].want != NULL ? cases[i].want : "";
        cr_expect(got.bytes == strlen(want) &&
                      memcmp(got.data != NULL ? (const char *)got.data : "", want, got.bytes) == 0,
                  "case %zu: '%.*s'", i, (int)got.bytes, (const char *)got.data);
        free(body);
    }
}
