/* What linux/delay.h declares, as far as cbit has it. */
#include <cbit/driver/driver.h>
