// The scores of states as factors of their emissions, by cell.
#pragma once

#include <cstdint>

#include "lattice/lattice.h"
#include "simd/lanes.h"
#include "simd/scaled.h"

namespace {

// Plain numbers, relative to the greatest, where all of them and an emission's product with each is one; else scaled
// floats as they are, and then every tile is wide.
template <class Real>
class StateFactors {
   public:
    explicit StateFactors(const LatticeView<Real>& lattice) : lattice_(lattice), wide_(lattice.least_score < kLeast) {}
    void lay_out(Arena& arena) {
        factor_ = arena.take<Real>(lattice_.state_scores ? 2 * lattice_.length : 0);
        exponent_ = arena.take<BitsOf<Real>>(wide_ ? 2 * lattice_.length : 0);
    }
    void build() {
        if (!lattice_.state_scores) return;
        for (std::int64_t i = 0; i < 2 * lattice_.length; ++i) factor_[i] = 1;
        for (std::int64_t i = 0; wide_ && i < 2 * lattice_.length; ++i) exponent_[i] = 0;
        for (int k = 0; k < lattice_.num_states; ++k) {
            const std::int64_t cell = lattice_.cell(k);
            if (wide_) exp_scaled<Real>(lattice_.state_scores[k], factor_[cell], exponent_[cell]);
            else factor_[cell] = Real(std::exp(lattice_.state_scores[k] - lattice_.top_score));
        }
    }

    // Nats that must be left below a tile's emissions, so that plain numbers can hold their products with factors.
    static Real room(const LatticeView<Real>& lattice) {
        return lattice.least_score < kLeast ? Real(0) : Real(lattice.least_score);
    }
    bool wide() const { return wide_; }
    // What is taken off the score of each frame's state.
    double offset() const { return wide_ ? 0 : lattice_.top_score; }

    // A tile's emissions in cells begin <= i < end of one parity, whole registers of them, times their factors; `rows`
    // are those of its first frame. Where all cells have the same emissions, they are not in the rows yet: `shared`
    // are those of each frame.
    void multiply(int parity, int begin, int end, int count, const Real* shared, Real* rows,
                  std::int64_t stride) const {
        for (int i = begin; i < end; i += kLanes<Real>) {
            const Lanes<Real> factor = load_lanes(factor_ + parity * lattice_.length + i);
            for (int f = 0; f < count; ++f) {
                Real* cells = rows + f * stride + i;
                store_lanes<Real>((shared ? Lanes<Real>{} + shared[f] : load_lanes(cells)) * factor, cells);
            }
        }
    }
    // The exponents of the products, where factors have exponents; the emissions have some where the table is wide.
    void add_exponents(int parity, int begin, int end, int count, bool wide_table, BitsOf<Real>* rows,
                       std::int64_t stride) const {
        const BitsOf<Real>* own = exponent_ + parity * lattice_.length;
        for (int f = 0; f < count; ++f)
            for (int i = begin; i < end; ++i) rows[f * stride + i] = own[i] + (wide_table ? rows[f * stride + i] : 0);
    }

   private:
    static constexpr double kLeast = Format<Real>::kNarrow / 2;

    const LatticeView<Real>& lattice_;
    const bool wide_;
    Real* factor_;            // (2 * length,)
    BitsOf<Real>* exponent_;  // the same, where they are wide
};

}  // namespace
