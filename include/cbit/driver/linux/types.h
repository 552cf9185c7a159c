/* The system's headers include a linux/types.h of their own: nothing but types is here. */
#include_next <linux/types.h>
#include <cbit/linux.h>
