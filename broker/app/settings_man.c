// What the table of keys says to people: sluice.conf(5) and the sample file.
#include "app/settings_impl.h"

void slc_settings_man(FILE *out)
{
    fputs(".\\\" Made by sluiced --print-man from the table of keys; do not edit.\n"
          ".TH SLUICE.CONF 5 \"2026-11-22\" \"Sluice\" \"Sluice manual\"\n"
          ".SH NAME\n"
          "sluice.conf \\- configuration of the Sluice message broker\n"
          ".SH SYNOPSIS\n"
          ".nf\n"
          "/etc/sluice/sluice.conf\n"
          "/etc/sluice/conf.d/*.conf\n"
          ".fi\n"
          ".SH DESCRIPTION\n"
          "Each line is \\fIkey\\fR = \\fIvalue\\fR, as in RabbitMQ's \\fIrabbitmq.conf\\fR,\n"
          "and keys that both have mean the same. A # begins a comment. Blanks around\n"
          "keys and values do not count; a value in single quotes keeps its blanks and\n"
          "its #. The text is UTF\\-8.\n"
          ".PP\n"
          "The main file is read first: the one of \\fB\\-\\-config\\fR, else of the\n"
          "environment, else the one above. Beside a file named sluice.conf, every file\n"
          "of conf.d that ends in .conf follows, in the order of their names; then the\n"
          "environment, then \\fB\\-\\-set\\fR. The last one wins.\n"
          ".PP\n"
          "An unknown key, a value of the wrong form or outside its range prevents the\n"
          "start (exit status 78); the message names file, line, key, value and what is\n"
          "allowed. \\fBsluiced \\-\\-check\\fR does this, reads the files that the keys name,\n"
          "and nothing else. Keys of RabbitMQ that have no effect here yet are accepted,\n"
          "and named in one warning.\n"
          ".PP\n"
          "Sizes: digits are bytes; KB, MB, GB and TB are powers of 1000; KiB, MiB, GiB\n"
          "and TiB, and k, m, g and t alone, are powers of 1024. Times: ms, s, m, h and\n"
          "d may follow the digits; digits alone are in the unit that the key names.\n"
          ".SH KEYS\n",
          out);
    slc_config_write_man(&slc_settings_table, out);
    fputs(".SH ENVIRONMENT\n"
          "Empty variables do not count.\n"
          ".TP\n\\fBSLUICE_CONFIG\\fR, \\fBRABBITMQ_CONFIG_FILE\\fR\nThe main file.\n"
          ".TP\n\\fBSLUICE_DATA_DIR\\fR\nnode.data_dir\n"
          ".TP\n\\fBSLUICE_NODE_NAME\\fR, \\fBRABBITMQ_NODENAME\\fR\nnode.name\n"
          ".TP\n\\fBSLUICE_LOG_LEVEL\\fR\nlog.console.level and log.file.level\n"
          ".TP\n\\fBSLUICE_DEFAULT_USER\\fR, \\fBRABBITMQ_DEFAULT_USER\\fR\ndefault_user\n"
          ".TP\n\\fBSLUICE_DEFAULT_PASS\\fR, \\fBRABBITMQ_DEFAULT_PASS\\fR\ndefault_pass; with "
          "_FILE behind the name, a file that has it\n"
          ".TP\n\\fBSLUICE_DEFAULT_VHOST\\fR, \\fBRABBITMQ_DEFAULT_VHOST\\fR\ndefault_vhost\n"
          ".TP\n\\fBRABBITMQ_NODE_PORT\\fR\nThe port for AMQP, where no file says listeners.tcp.\n"
          ".TP\n\\fBSLUICE_CONF__\\fIa\\fB__\\fIb\\fR\nAny key: two underscores are a dot, so "
          "SLUICE_CONF__listeners__tcp__1=5673 is\n"
          "listeners.tcp.1 = 5673.\n"
          ".PP\n"
          "Where Sluice and RabbitMQ name the same key, the variable of Sluice wins.\n"
          ".SH EXAMPLE\n"
          ".nf\n"
          "listeners.tcp.local = 127.0.0.1:5672\n"
          "listeners.tcp.lan = 192.168.1.10:5672\n"
          "default_user = admin\n"
          "default_pass = file:/etc/sluice/admin.password\n"
          "vm_memory_high_watermark.absolute = 2GiB\n"
          "log.console.formatter = json\n"
          ".fi\n"
          ".SH SEE ALSO\n"
          ".BR sluiced (8),\n"
          ".BR sluicectl (8)\n",
          out);
}

void slc_settings_sample(FILE *out)
{
    fputs("# Configuration of Sluice. Every key stands here with its default, as a comment; "
          "sluice.conf(5) says more.\n"
          "# `sluiced --check` tells what is wrong, `sluiced --print-config` what holds.\n",
          out);
    slc_config_write_sample(&slc_settings_table, out);
}
