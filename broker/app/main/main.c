#include "app/daemon.h"

int main(int argc, char **argv)
{
    return slc_daemon_main(argc, argv);
}
