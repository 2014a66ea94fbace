//! What is known of machine types in regions.

/// What is known of types in regions, on a market. The first cell knows nothing.
#[derive(Debug)]
pub(super) struct Cells {
    cells: Vec<Cell>,
    /// Blocks of all cells, one after the other, counted from 1.
    pub(super) blocks: Vec<u16>,
    /// Quotas of all cells, with what one machine counts for.
    pub(super) quotas: Vec<(u16, f64)>,
    /// What was seen, of all cells.
    pub(super) history: Vec<u32>,
}

/// Where a cell's part ends in each list, and what it leads to.
#[derive(Debug, Clone, Copy)]
struct Cell {
    blocks: u32,
    quotas: u32,
    history: u32,
    /// Machines that the quotas leave room for.
    room: u32,
}

impl Cells {
    pub(super) fn new() -> Self {
        let nothing = Cell {
            blocks: 0,
            quotas: 0,
            history: 0,
            room: u32::MAX,
        };
        Self {
            cells: vec![nothing],
            blocks: Vec::new(),
            quotas: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Makes a cell of what was added since the last one; 0 where that is nothing.
    pub(super) fn close(&mut self, room: u32) -> u32 {
        let ends = [self.blocks.len(), self.quotas.len(), self.history.len()];
        let last = self.cells.last().map_or([0; 3], Cell::ends);
        if ends == last {
            return 0;
        }
        let [blocks, quotas, history] = ends.map(|end| end as u32);
        self.cells.push(Cell {
            blocks,
            quotas,
            history,
            room,
        });
        self.cells.len() as u32 - 1
    }

    /// Machines that quotas leave room for.
    pub(super) fn room(&self, number: u32) -> u32 {
        self.cells[number as usize].room
    }

    /// Where a cell's parts begin and end.
    fn parts(&self, number: u32) -> ([usize; 3], [usize; 3]) {
        let before = number
            .checked_sub(1)
            .map_or([0; 3], |before| self.cells[before as usize].ends());
        (before, self.cells[number as usize].ends())
    }

    /// Blocks that cover a cell or a zone of it, counted from 1.
    pub(super) fn blocks_of(&self, number: u32) -> &[u16] {
        let (from, to) = self.parts(number);
        &self.blocks[from[0]..to[0]]
    }

    /// Quotas that a cell counts against, with what one machine counts for.
    pub(super) fn quotas_of(&self, number: u32) -> &[(u16, f64)] {
        let (from, to) = self.parts(number);
        &self.quotas[from[1]..to[1]]
    }

    /// What was seen of a cell.
    pub(super) fn history_of(&self, number: u32) -> &[u32] {
        let (from, to) = self.parts(number);
        &self.history[from[2]..to[2]]
    }
}

impl Cell {
    fn ends(&self) -> [usize; 3] {
        [self.blocks, self.quotas, self.history].map(|end| end as usize)
    }
}
