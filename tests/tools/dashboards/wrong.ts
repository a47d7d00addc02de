// What the types must refuse, or they would be too loose.
import type { AnyPanel, Query } from './types';

const query: Query = { datasource: { type: 'prometheus', uid: '${datasource}' }, expr: 'up', instant: true, range: false, legendFormat: 'up', refId: 'A' };
// @ts-expect-error a misspelled key of a query
export const key: Query = { ...query, legendFromat: 'up' };
// @ts-expect-error a data source that is not the variable
export const source: Query = { ...query, datasource: { type: 'prometheus', uid: 'mine' } };

const right: AnyPanel = {
  id: 1,
  type: 'timeseries',
  title: 'A',
  description: 'B',
  gridPos: { h: 1, w: 1, x: 0, y: 0 },
  datasource: query.datasource,
  targets: [query],
  fieldConfig: { defaults: { unit: 's' }, overrides: [] },
  options: {
    legend: { calcs: [], displayMode: 'list', placement: 'bottom', showLegend: true },
    tooltip: { mode: 'multi', sort: 'desc' },
  },
};
// @ts-expect-error no unit
export const unit: AnyPanel = { ...right, fieldConfig: { defaults: {}, overrides: [] } };
// @ts-expect-error an option of another kind of panel
export const option: AnyPanel = { ...right, type: 'timeseries', options: { ...right.options, rowHeight: 1 } };
// @ts-expect-error a value that no enum has
export const value: AnyPanel = { ...right, type: 'timeseries', options: { legend: { calcs: [], displayMode: 'lst', placement: 'bottom', showLegend: true }, tooltip: { mode: 'multi', sort: 'desc' } } };
// @ts-expect-error a mode of stacking that there is not
export const custom: AnyPanel = { ...right, type: 'timeseries', fieldConfig: { defaults: { unit: 's', custom: { stacking: { mode: 'stacked' } } }, overrides: [] } };
// @ts-expect-error a kind of panel that nobody checked
export const kind: AnyPanel = { ...right, type: 'piechart' };
