// Grafana's own types, put together: its `Dashboard` leaves options, queries and field configs open, and
// what they are is told by other types of the same package.
import type * as grafana from '@grafana/schema';
import type { PrometheusDataQuery } from '@grafana/schema/dist/esm/raw/composable/prometheus/dataquery/x/PrometheusDataQuery_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as timeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as series from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** A type as JSON writes it: the members of an enum as their texts. */
type Written<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends (infer Item)[]
      ? Written<Item>[]
      : T extends object
        ? { [Key in keyof T]: Written<T[Key]> }
        : T;

type Prometheus = { type: 'prometheus'; uid: '${datasource}' };
type Link = { title: string; url: string; targetBlank?: boolean };
type Field = NonNullable<grafana.Panel['fieldConfig']>['defaults'];

type Query = Required<Pick<PrometheusDataQuery, 'expr' | 'refId' | 'legendFormat' | 'instant' | 'range'>> &
  Written<Omit<PrometheusDataQuery, 'datasource'>> & { datasource: Prometheus };

type Override =
  | { id: 'color'; value: Written<NonNullable<Field['color']>> }
  | { id: 'custom.cellOptions'; value: Written<grafana.TableCellOptions> }
  | { id: 'custom.hidden'; value: boolean }
  | { id: 'links'; value: Link[] }
  | { id: 'mappings'; value: Written<NonNullable<Field['mappings']>> }
  | { id: 'unit'; value: string };

type Transformation =
  | { id: 'merge'; options: Record<string, never> }
  | {
      id: 'organize';
      options: {
        excludeByName: Record<string, boolean>;
        indexByName: Record<string, number>;
        renameByName: Record<string, string>;
      };
    };

/** A panel of one kind: what `Panel` leaves open is told, and what we want of each is required. */
type PanelOf<Kind, Options, Custom> = Required<Pick<grafana.Panel, 'id' | 'title' | 'description' | 'gridPos'>> &
  Written<Omit<grafana.Panel, 'type' | 'datasource' | 'fieldConfig' | 'options' | 'targets' | 'transformations'>> & {
    type: Kind;
    datasource: Prometheus;
    fieldConfig: {
      defaults: Written<Omit<Field, 'custom' | 'links'>> & { unit: string; custom?: Written<Custom>; links?: Link[] };
      overrides: { matcher: { id: 'byName'; options: string }; properties: Override[] }[];
    };
    options: Written<Options>;
    targets: Query[];
    transformations?: Transformation[];
  };

type AnyPanel =
  | PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | PanelOf<'stat', stat.Options, never>
  | PanelOf<'state-timeline', timeline.Options, timeline.FieldConfig>
  | PanelOf<'table', table.Options, table.FieldConfig>
  | PanelOf<'timeseries', series.Options, series.FieldConfig>
  | (Written<Omit<grafana.RowPanel, 'panels' | 'type'>> & { type: 'row'; panels: [] });

/** Grafana's own keys of an annotation of a Prometheus stand beside those of every data source. */
type Annotation =
  | (Written<Omit<grafana.AnnotationQuery, 'datasource' | 'builtIn'>> & {
      datasource: Prometheus;
      expr: string;
      step: string;
      tagKeys: string;
      textFormat: string;
      titleFormat: string;
      useValueForTime: boolean;
    })
  | (Written<Omit<grafana.AnnotationQuery, 'builtIn'>> & { builtIn: 1 });

type Variable = Required<Pick<grafana.VariableModel, 'description' | 'label'>> &
  Written<Omit<grafana.VariableModel, 'datasource' | 'query'>> &
  (
    | { type: 'datasource'; query: 'prometheus' }
    | { type: 'textbox'; query: string }
    | { type: 'query'; datasource: Prometheus; query: { qryType: 1; query: string; refId: string } }
  );

/** A dashboard of ours. */
export type Board = Required<Pick<grafana.Dashboard, 'uid' | 'title' | 'description' | 'tags'>> &
  Written<Omit<grafana.Dashboard, 'annotations' | 'panels' | 'schemaVersion' | 'templating'>> & {
    annotations: { list: Annotation[] };
    panels: AnyPanel[];
    schemaVersion: 39;
    templating: { list: Variable[] };
  };

export type { AnyPanel, Query };
