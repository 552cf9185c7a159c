// The devices of the PC that software cannot find by itself. The names under External are the SSDT's, which
// describes the machine at hand (acpi/tables.cpp).
DefinitionBlock ("", "DSDT", 2, "CBIT", "CBITDSDT", 1)
{
    External (\PBUS, IntObj)  // last PCI bus
    External (\PMIN, IntObj)  // what PCI devices may be mapped to, first and last
    External (\PMAX, IntObj)
    External (\PLEN, IntObj)
    External (\ECBA, IntObj)  // PCI Express configuration space
    External (\ECLN, IntObj)

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, Zero)
            Name (_SEG, Zero)
            Name (_BBN, Zero)

            Method (_CRS, 0, Serialized)
            {
                Name (RBUF, ResourceTemplate ()
                {
                    WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                        0, 0, 0xFF, 0, 0x100, , , BUSN)
                    IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                    WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                        0, 0, 0x0CF7, 0, 0x0CF8)
                    WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                        0, 0x0D00, 0xFFFF, 0, 0xF300)
                    DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                        0, 0, 0, 0, 1, , , MEMW)
                })
                CreateWordField (RBUF, \_SB.PCI0._CRS.BUSN._MAX, BMAX)
                CreateWordField (RBUF, \_SB.PCI0._CRS.BUSN._LEN, BLEN)
                CreateDWordField (RBUF, \_SB.PCI0._CRS.MEMW._MIN, MMIN)
                CreateDWordField (RBUF, \_SB.PCI0._CRS.MEMW._MAX, MMAX)
                CreateDWordField (RBUF, \_SB.PCI0._CRS.MEMW._LEN, MLEN)
                BMAX = \PBUS
                BLEN = \PBUS + 1
                MMIN = \PMIN
                MMAX = \PMAX
                MLEN = \PLEN
                Return (RBUF)
            }

            // PCI Firmware Specification 3.2, 4.5.1: the system may control all that it asks for.
            Method (_OSC, 4, NotSerialized)
            {
                CreateDWordField (Arg3, 0, CDW1)
                If (Arg0 != ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766"))
                {
                    CDW1 |= 4
                }
                Return (Arg3)
            }
        }

        // Linux uses the configuration space only where it is some device's resource.
        Device (MBRD)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, Zero)
            Method (_CRS, 0, Serialized)
            {
                Name (RBUF, ResourceTemplate ()
                {
                    Memory32Fixed (ReadWrite, 0, 0, ECAM)
                })
                CreateDWordField (RBUF, \_SB.MBRD._CRS.ECAM._BAS, EBAS)
                CreateDWordField (RBUF, \_SB.MBRD._CRS.ECAM._LEN, ELEN)
                EBAS = \ECBA
                ELEN = \ECLN
                Return (RBUF)
            }
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
                IRQNoFlags () {8}
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, One)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                IRQNoFlags () {4}
            })
        }

        Device (COM2)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 2)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02F8, 0x02F8, 1, 8)
                IRQNoFlags () {3}
            })
        }
    }
}
