// eval, of which one expression is known, and what needs Erlang and is refused.
//
// Puppet's rabbitmq_user checks a password with
//      rabbit_access_control:check_user_pass_login(list_to_binary("user"), list_to_binary("password")).
// and looks for the word refused in what is printed.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ctl.h"

static void blanks_skip(const char **at)
{
    *at += strspn(*at, " \t\r\n");
}

static bool word_take(const char **at, const char *word)
{
    blanks_skip(at);
    size_t bytes = strlen(word);
    if (strncmp(*at, word, bytes) != 0)
        return false;
    *at += bytes;
    return true;
}

// "text", with what may stand behind a backslash but for code points by number.
static bool string_take(const char **at, slc_buffer *out)
{
    static const char letters[] = "ntrbfvesd0", meanings[] = "\n\t\r\b\f\v\033 \177";
    if (!word_take(at, "\""))
        return false;
    for (; **at != '"'; (*at)++) {
        char c = **at;
        if (c == '\\') {
            c = *++*at;
            const char *letter = c != '\0' ? strchr(letters, c) : NULL;
            if (c == '\0' || c == '0' || strchr("123456789x^", c) != NULL)
                return false;
            c = letter != NULL ? meanings[letter - letters] : c;
        }
        if (c == '\0')
            return false;
        slc_buffer_put(out, &c, 1);
    }
    (*at)++;
    return true;
}

// <<"text">>, <<"text"/utf8>> or list_to_binary("text").
static bool binary_take(const char **at, slc_buffer *out)
{
    if (word_take(at, "<<")) {
        if (!string_take(at, out))
            return false;
        (void)word_take(at, "/utf8"); // names and passwords are UTF-8 in any case
        return word_take(at, ">>");
    }
    return word_take(at, "list_to_binary") && word_take(at, "(") && string_take(at, out) &&
           word_take(at, ")");
}

static bool login_check_parse(const char *text, slc_buffer *user, slc_buffer *password)
{
    bool good = word_take(&text, "rabbit_access_control") && word_take(&text, ":") &&
                word_take(&text, "check_user_pass_login") && word_take(&text, "(") &&
                binary_take(&text, user) && word_take(&text, ",") && binary_take(&text, password) &&
                word_take(&text, ")") && word_take(&text, ".");
    blanks_skip(&text);
    slc_buffer_put(user, "", 1);
    slc_buffer_put(password, "", 1);
    return good && *text == '\0';
}

static void tags_print(slc_ctl *ctl, const char *user)
{
    slc_ctl_reply reply;
    size_t i;
    json_t *tag;
    char *path = slc_ctl_path("/api/users/%s", user);
    int rc = slc_ctl_request_quietly(ctl, "GET", path, &reply);
    slc_free(path);
    if (rc != CTL_OK)
        return;
    json_array_foreach(json_object_get(reply.body, "tags"), i, tag)
        printf("%s%s", i > 0 ? "," : "", json_string_value(tag));
    slc_ctl_reply_fini(&reply);
}

static void binary_print(const char *text)
{
    printf("<<\"");
    for (; *text != '\0'; text++)
        printf("%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    printf("\">>");
}

static int login_check(slc_ctl *ctl, const char *user, const char *password)
{
    slc_ctl_reply reply;
    json_t *body = json_pack("{s:s,s:s}", "username", user, "password", password);
    if (body == NULL)
        return slc_ctl_error(CTL_DATA, "user and password must be UTF-8");
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    int rc = slc_ctl_send(ctl, "POST", "/api/sluice/authenticate", text, strlen(text), &reply);
    explicit_bzero(text, strlen(text));
    free(text); // NOLINT: jansson's own allocation
    if (rc != CTL_OK)
        return rc;
    if (reply.status / 100 == 2) {
        printf("{ok,{user,");
        binary_print(user);
        printf(",[");
        tags_print(ctl, user);
        printf("],[{rabbit_auth_backend_internal,none}]}}\n");
    } else if (reply.status < 500) {
        printf("{refused,");
        binary_print(user);
        printf(",\"user '~s' - invalid credentials\",[");
        binary_print(user);
        printf("]}\n");
    } else {
        rc = slc_ctl_reply_error(&reply, CTL_SOFTWARE);
    }
    slc_ctl_reply_fini(&reply);
    return rc;
}

int slc_ctl_eval(slc_ctl *ctl)
{
    slc_buffer user = {0}, password = {0};
    int rc;
    if (login_check_parse(ctl->args[0], &user, &password))
        rc = login_check(ctl, (const char *)user.data, (const char *)password.data);
    else
        rc = slc_ctl_refuse(ctl);
    explicit_bzero(password.data, password.bytes);
    slc_buffer_fini(&user);
    slc_buffer_fini(&password);
    return rc;
}

int slc_ctl_refuse(slc_ctl *ctl)
{
    static const struct {
        const char *command, *hint;
    } hints[] = {
        {"eval",
         "there is no Erlang to evaluate expressions in. Every command is in `help`; the HTTP "
         "API answers to everything else"},
        {"exec",
         "there is no Elixir to evaluate expressions in. Every command is in `help`; the HTTP "
         "API answers to everything else"},
        {"remote_shell",
         "there is no Erlang shell. `environment`, `status`, `report` and `log_tail` "
         "show what goes on"},
        {"observer",
         "there is no Erlang to observe. `runtime_thread_stats` shows which threads are busy"},
        {"encode",
         "encrypted values of RabbitMQ's configuration are not used here. A secret stays out of "
         "sluice.conf with file:/path, env:NAME or credential:NAME as its value, see "
         "sluice.conf(5)"},
        {"decode",
         "encrypted values of RabbitMQ's configuration are not used here. Decode them with "
         "RabbitMQ's own rabbitmqctl, and keep the secret in a file: file:/path, env:NAME or "
         "credential:NAME, see sluice.conf(5)"},
    };
    for (size_t i = 0; i < SLC_ARRAY_COUNT(hints); i++) {
        if (strcmp(ctl->command->name, hints[i].command) == 0)
            return slc_ctl_error(CTL_UNAVAILABLE, "%s cannot be done: %s", hints[i].command,
                                 hints[i].hint);
    }
    SLC_ASSERT(!"a command without a hint");
    return CTL_SOFTWARE;
}
