// What a dashboard of Grafana's classic model has to be, part by part. tests/test_grafana.py appends constants of
// these types, made from config/grafana/bridge.json, and has the compiler look at them.

import type { Dashboard, Panel as AnyPanel } from "./node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen";
import type {
  FieldConfig as Line,
  Options as Lines,
} from "./node_modules/@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";
import type { Options as Number_ } from "./node_modules/@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";

/** A type whose enumerations may be written as the texts that JSON has for them. */
type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

export type Frame = Plain<Omit<Dashboard, "panels">>;
export type Row = Plain<NonNullable<Dashboard["panels"]>[number]>;
export type Panel = Plain<Omit<AnyPanel, "options">>;
export type TimeSeries = Plain<Partial<Lines>>;
export type TimeSeriesField = Plain<Partial<Line>>;
export type Stat = Plain<Partial<Number_>>;
