/**
 * The application binary interfaces of MPI libraries: how wide handles are, and the numbers behind the names of the standard. There are
 * three: that of the MPI 5 standard, Open MPI's, where handles are addresses of objects in the library, and MPICH's, where they are ints.
 */
import path from 'node:path';

export type Handle = number | bigint;

/** The constants that are used here. */
const names = [
  'COMM_WORLD',
  'BYTE',
  'INT16_T',
  'INT32_T',
  'FLOAT',
  'DOUBLE',
  'SUM',
  'MAX',
  'ERRORS_RETURN',
  'IN_PLACE',
  'STATUS_IGNORE',
  'ANY_SOURCE',
  'THREAD_SERIALIZED',
] as const;

export type Constants = Readonly<Record<(typeof names)[number], Handle>>;

export interface Interface {
  name: 'MPI-5' | 'Open MPI' | 'MPICH';
  /** C's type of handles. */
  handle: 'int' | 'intptr_t';
  constants: Constants;
}

const standard: Constants = {
  COMM_WORLD: 0x101,
  BYTE: 0x247,
  INT16_T: 0x248,
  INT32_T: 0x250,
  FLOAT: 0x210,
  DOUBLE: 0x214,
  SUM: 0x21,
  MAX: 0x23,
  ERRORS_RETURN: 0x143,
  IN_PLACE: 1,
  STATUS_IGNORE: 0,
  ANY_SOURCE: -1,
  THREAD_SERIALIZED: 2048,
};

const mpich: Constants = {
  COMM_WORLD: 0x44000000,
  BYTE: 0x4c00010d,
  INT16_T: 0x4c000238,
  INT32_T: 0x4c000439,
  FLOAT: 0x4c00040a,
  DOUBLE: 0x4c00080b,
  SUM: 0x58000003,
  MAX: 0x58000001,
  ERRORS_RETURN: 0x54000001,
  IN_PLACE: -1,
  STATUS_IGNORE: 1,
  ANY_SOURCE: -2,
  THREAD_SERIALIZED: 2,
};

/** @param addressOf of a symbol in the library */
function openMpi(addressOf: (symbol: string) => bigint): Constants {
  return {
    COMM_WORLD: addressOf('ompi_mpi_comm_world'),
    BYTE: addressOf('ompi_mpi_byte'),
    INT16_T: addressOf('ompi_mpi_int16_t'),
    INT32_T: addressOf('ompi_mpi_int32_t'),
    FLOAT: addressOf('ompi_mpi_float'),
    DOUBLE: addressOf('ompi_mpi_double'),
    SUM: addressOf('ompi_mpi_op_sum'),
    MAX: addressOf('ompi_mpi_op_max'),
    ERRORS_RETURN: addressOf('ompi_mpi_errors_return'),
    IN_PLACE: 1,
    STATUS_IGNORE: 0,
    ANY_SOURCE: -1,
    THREAD_SERIALIZED: 2,
  };
}

/**
 * The interface of a library. MPICH's libraries of both kinds export the functions of the standard's, so only its file's name tells them apart.
 * @param addressOf undefined where there is no such symbol
 */
export function interfaceOf(file: string, addressOf: (symbol: string) => bigint | undefined): Interface {
  if (path.basename(file).startsWith('libmpi_abi')) return { name: 'MPI-5', handle: 'intptr_t', constants: standard };
  if (addressOf('ompi_mpi_comm_world') === undefined) return { name: 'MPICH', handle: 'int', constants: mpich };
  return { name: 'Open MPI', handle: 'intptr_t', constants: openMpi((symbol) => addressOf(symbol)!) };
}
